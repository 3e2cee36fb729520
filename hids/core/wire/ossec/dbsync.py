"""Synchronisation of Wazuh's FIM: the agent has the list of files, the manager learns which of its rows differ.

    agent    5:fim_file:{"component":"fim_file","type":"integrity_check_global","data":{"id":..,"begin":..,"end":..,"checksum":..}}
    manager  #!-fim_file dbsync checksum_fail {"begin":..,"end":..,"id":..}      or no_data, or nothing: it agrees
    agent    halves the range and asks again, or sends the rows: {"component":"fim_file","type":"state","data":{..}}

What a row says of a file becomes the manager's baseline and no alert; news of files come as events (syscheck.py), which
change the rows here, too. All that is kept of a row is its key, its checksum and its path.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from hids.core.wire.ossec.control import MARK
from hids.core.wire.ossec.syscheck import MAX_PATH, fact_of, registry_path
from hids.errors import RemoteProtocolError
from hids.messages.syscheck import FileFact
from hids.messages.terms import AgentId

COMPONENTS = frozenset({"fim_file", "fim_registry_key", "fim_registry_value", "fim_registry", "syscheck"})
"""Those about files and the registry; the last two are of older 4.x agents. All others are inventory."""
MAX_ROWS = 500_000
"""Of one agent; Wazuh's own limit is 100,000 files until somebody raises it. Beyond it there are no answers, and the
agent believes to be in sync."""
DROPS = 1_000
"""Rows that one message takes away, at most: the next check of the same range takes the next ones."""
ROWS_A_MINUTE = 4_000_000
"""Rows of one agent that checks may go through: some 3 s of CPU time. Who asks for more gets no answer until the minute
is over, and asks again at its next interval."""

_CHECKSUM = re.compile(r"[0-9a-f]{40}")
_EVENTS_GO_TO = "fim_file"
_SAME_ROWS = {"syscheck": _EVENTS_GO_TO}
"""Component -> the one under whose name its rows are kept."""


class Row(NamedTuple):
    """One row of the agent's database."""

    key: bytes
    checksum: str
    """Of all that the agent knows of it; only the agent can compute it."""
    path: str
    """What the syscheck store calls it."""


class Rows(Protocol):
    """Where rows are kept (hids.adapters.dbsync_rows). Each may raise StoreError; what was not committed is lost then."""

    def put(self, agent: AgentId, component: str, row: Row, limit: int) -> bool:
        """Add or replace; False: the agent has `limit` already."""
        ...

    def remove(self, agent: AgentId, component: str, key: bytes) -> None:
        """Remove one."""
        ...

    def checksums(self, agent: AgentId, component: str, begin: bytes, end: bytes) -> Iterator[str]:
        """Of all rows from one key through another, in byte order of the keys."""
        ...

    def drop(
        self, agent: AgentId, component: str, above: bytes | None, below: bytes | None, limit: int
    ) -> tuple[str, ...]:
        """Remove rows strictly between two keys (None: no bound); returns the paths, `limit` at most."""
        ...

    def keep_only(self, agents: set[AgentId]) -> None:
        """Forget all other agents."""
        ...

    def commit(self) -> None:
        """What was done since the last time has happened."""
        ...

    def close(self) -> None:
        """What was not committed did not happen."""
        ...


class Outcome(msgspec.Struct, frozen=True):
    """What comes of a message."""

    answer: bytes = b""
    """Control message for the agent; empty for none."""
    facts: tuple[FileFact, ...] = ()
    """For the syscheck store."""
    dropped: str = ""
    """Why nothing came of it."""


class Asked(msgspec.Struct, frozen=True):
    """What a check says, and what a `state` says, as far as we know it."""

    id: int = 0
    begin: str = ""
    end: str = ""
    tail: str = ""
    checksum: str = ""
    index: str = ""
    path: str = ""
    arch: str = ""
    value_name: str = ""
    attributes: dict[str, Any] = {}


class Message(msgspec.Struct, frozen=True):
    """One message of an agent."""

    component: str
    type: Literal["integrity_check_global", "integrity_check_left", "integrity_check_right", "integrity_clear", "state"]
    data: Asked = Asked()


class _EventData(msgspec.Struct, frozen=True):
    path: str = ""
    index: str = ""
    type: str = ""
    attributes: dict[str, Any] = {}


class _Event(msgspec.Struct, frozen=True):
    type: str = ""
    data: _EventData = _EventData()


_decode_message = msgspec.json.Decoder(Message).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.Encoder().encode


def read_message(message: bytes) -> Message:
    """Read what came in queue 5.

    Raises:
        RemoteProtocolError: malformed, or about something else than files.
    """
    try:
        said = _decode_message(message)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RemoteProtocolError(f"dbsync: expected a JSON message: {error}") from error
    data = said.data
    if said.component not in COMPONENTS:
        raise RemoteProtocolError(f"dbsync: expected a component of files, got {said.component[:40]!r}")
    if max(map(len, (data.begin, data.end, data.tail, data.index, data.path, data.value_name))) > MAX_PATH:
        raise RemoteProtocolError(f"dbsync: expected keys of at most {MAX_PATH} characters")
    if said.type.startswith("integrity_check") and not _CHECKSUM.fullmatch(data.checksum):
        raise RemoteProtocolError("dbsync: expected the checksum of a range, 40 hex digits")
    if said.type == "state" and not (data.index or data.path):
        raise RemoteProtocolError("dbsync: expected a row with a key")
    return said


def range_checksum(checksums: Iterable[str]) -> tuple[str, int]:
    """SHA-1 over the checksums of rows, one after the other, and how many there were."""
    digest, count = hashlib.sha1(usedforsecurity=False), 0
    for checksum in checksums:
        digest.update(checksum.encode())
        count += 1
    return digest.hexdigest(), count


class DbSync:
    """The manager's side, for all agents."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._minute = -1
        self._read: Counter[AgentId] = Counter()
        """Rows that checks of an agent went through in this minute."""

    def take(self, agent: AgentId, message: bytes, now_s: float) -> Outcome:
        """One message of queue 5.

        Raises:
            RemoteProtocolError: malformed.
            StoreError: the rows cannot be used at the moment.
        """
        said = read_message(message)
        component = _SAME_ROWS.get(said.component, said.component)
        match said.type:
            case "state":
                return self._state(agent, component, said.data)
            case "integrity_clear":
                return Outcome(facts=_gone(self._rows.drop(agent, component, None, None, DROPS)))
            case "integrity_check_global" | "integrity_check_left" | "integrity_check_right":
                return self._check(agent, component, said, now_s)

    def told(self, agent: AgentId, message: bytes) -> None:
        """An event of a file changed a row at the agent; it does here.

        Raises:
            StoreError: the rows cannot be used at the moment.
        """
        try:
            event = _decode_event(message)
        except (msgspec.MsgspecError, RecursionError):
            return
        data, attributes = event.data, event.data.attributes
        checksum = str(attributes.get("checksum", ""))
        if event.type != "event" or attributes.get("type", "file") != "file" or not 0 < len(data.path) <= MAX_PATH:
            return  # the key of a registry's row is not in its event: the next check brings it
        key = (data.index or data.path).encode()
        if data.type == "deleted":
            self._rows.remove(agent, _EVENTS_GO_TO, key)
        elif _CHECKSUM.fullmatch(checksum):
            self._rows.put(agent, _EVENTS_GO_TO, Row(key, checksum, data.path), MAX_ROWS)

    def _state(self, agent: AgentId, component: str, data: Asked) -> Outcome:
        checksum = str(data.attributes.get("checksum", ""))
        if not _CHECKSUM.fullmatch(checksum):
            raise RemoteProtocolError("dbsync: expected a row with its checksum, 40 hex digits")
        path = registry_path(data.path or data.index, data.arch, data.value_name)
        if not self._rows.put(agent, component, Row((data.index or path).encode(), checksum, path), MAX_ROWS):
            return Outcome(dropped="dbsync: too many rows")
        return Outcome(facts=(fact_of(path, "baseline", data.attributes),))

    def _check(self, agent: AgentId, component: str, said: Message, now_s: float) -> Outcome:
        data = said.data
        begin, end = data.begin.encode(), data.end.encode()
        if self._is_spent(agent, now_s):
            return Outcome(dropped="dbsync: too many checks")
        gone: tuple[str, ...] = ()
        if said.type == "integrity_check_global":
            gone = self._rows.drop(agent, component, None, begin, DROPS)
            gone += self._rows.drop(agent, component, end, None, DROPS)
        elif said.type == "integrity_check_left" and data.tail:
            gone = self._rows.drop(agent, component, end, data.tail.encode(), DROPS)
        checksum, count = range_checksum(self._rows.checksums(agent, component, begin, end))
        self._read[agent] += count
        facts = _gone(gone)
        if checksum == data.checksum and count:
            return Outcome(facts=facts)
        word = b"checksum_fail" if count else b"no_data"
        range_ = _encode({"begin": data.begin, "end": data.end, "id": data.id})
        return Outcome(MARK + said.component.encode() + b" dbsync " + word + b" " + range_, facts)

    def _is_spent(self, agent: AgentId, now_s: float) -> bool:
        minute = int(now_s // 60)
        if minute != self._minute:
            self._minute = minute
            self._read.clear()
        return self._read[agent] >= ROWS_A_MINUTE


def _gone(paths: Iterable[str]) -> tuple[FileFact, ...]:
    """The agent has these no more, and has told so or cannot tell any more: the baseline lets go of them without an alert."""
    return tuple(FileFact(path=path, seen="baseline", gone=True) for path in paths)
