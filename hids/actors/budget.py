"""Budget: replaces a process of the manager that takes too much memory, before the kernel chooses one.

    timer --Look--> budget --SIGKILL--> the process;  budget --Tell--> dispatcher

A worker, the lane or an output that is killed loses nothing: see the dispatcher and the ledger. Main itself is only told
about; what it holds is bounded by the credit.

State    none.
"""

from collections.abc import Callable

import structlog

from hids.actors.dispatcher import Tell
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.messages.terms import Agent
from hids.ports import Emit

log = structlog.get_logger()

LOOK_S = 5.0


class Look(OneLife):
    """timer -> budget."""


class Budget(LoopActor):
    """Compare what each process holds with what it may hold."""

    def __init__(
        self,
        mailbox: Mailbox,
        places: Callable[[], tuple[Mailbox, ...]],
        rss_mib: Callable[[int], float],
        kill: Callable[[int], None],
        manager: Agent,
        emit: Emit[Tell],
        *,
        limit_mib: int,
        look_s: float = LOOK_S,
    ) -> None:
        """`places` are those of the processes; `rss_mib` is 0 for a process that has ended."""
        super().__init__(mailbox)
        self._places = places
        self._rss_mib = rss_mib
        self._kill = kill
        self._manager = manager
        self._emit = emit
        self._limit_mib = limit_mib
        self._look_s = look_s
        self._killed = 0
        self._timer = self.later(look_s, Look())

    def on_receive(self, message: Look) -> None:
        """Look once."""
        del message
        for place in self._places():
            pid = int(place.facts().get("pid", 0))
            used = self._rss_mib(pid) if pid else 0.0
            if used > self._limit_mib:
                self._killed += 1
                log.error("process is over its memory budget, replacing it", process=place.name, mib=round(used))
                self._kill(pid)
                text = f"memory budget: {place.name} held {used:.0f} MiB of {self._limit_mib} and was replaced"
                self._emit(Tell(self._manager, text))
        self._timer = self.later(self._look_s, Look())

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"limit_mib": self._limit_mib, "replaced": self._killed}
