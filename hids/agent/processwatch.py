"""The agent's end of the process that remembers who every process of the host was (processloop.py)."""

import msgspec

from hids.adapters.process import Launched, launch
from hids.agent.connector import ConnectorError, subscribe
from hids.agent.processloop import MOST_BYTES, Proof, Prove, Recall
from hids.messages.syscheck import Who

PATIENCE_S = 2.0
"""Until an answer must have come."""
START_S = 10.0
"""Until the first must have."""


class ProcessWatch:
    """Asks. For one thread. When the other process has ended it is started again by `prove`."""

    def __init__(self) -> None:
        """Nothing runs before `prove`."""
        self._launched: Launched | None = None
        self.trouble = "it is not started yet"
        """Why nobody is known; empty when all is well."""

    def prove(self) -> None:
        """See whether the kernel tells of processes, and start what listens if it does not run."""
        try:
            if self._launched is None:
                self._launched = _launch()
            proof = msgspec.msgpack.decode(_ask(self._launched, Prove()), type=Proof)
            self._launched.sock.settimeout(PATIENCE_S)
        except (OSError, ConnectorError, msgspec.DecodeError) as error:
            self._give_up(str(error))
            return
        self.trouble = "" if proof.told else "the kernel's process connector is silent"

    def recall(self, pid: int, since_ns: int | None) -> Who | None:
        """Who has or had a number, as `Processes.recall` says; users and groups have no names yet."""
        if self._launched is None:
            return None
        try:
            return msgspec.msgpack.decode(_ask(self._launched, Recall(pid, since_ns)), type=Who | None)
        except (OSError, msgspec.DecodeError) as error:
            self._give_up(str(error))
            return None

    def close(self) -> None:
        """End it."""
        if self._launched is not None:
            self._launched.end()
            self._launched = None

    def _give_up(self, reason: str) -> None:
        self.close()
        self.trouble = reason


def _ask(of: Launched, question: Recall | Prove) -> bytes:
    try:
        of.sock.send(msgspec.msgpack.encode(question))
        answer = of.sock.recv(MOST_BYTES)
    except TimeoutError:
        raise TimeoutError("the process that watches processes does not answer") from None
    except ConnectionError:
        answer = b""
    if not answer:
        raise ConnectionResetError("the process that watches processes has ended")
    return answer


def _launch() -> Launched:
    with subscribe() as subscription:
        options = ["--connector-fd", str(subscription.fileno())]
        launched = launch("hids.agent.processloop", options, datagrams=True, inherit=[subscription.fileno()])
    launched.sock.settimeout(START_S)
    return launched
