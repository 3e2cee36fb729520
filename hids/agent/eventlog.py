"""Event logs of Windows, behind a port: files (`evtx.py`) and live channels (`eventchannel.py`).

    event log --Record--> reader --Append--> spool

State    none that a restart loses: the bookmark of each log is stored with its events.
Full     reading waits; Windows keeps the events, up to the log's own size.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from hids.actors.stage import Mailbox
from hids.agent.collector import Collector, SourceState
from hids.core.collect.shape import Place, Shape
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES, LogLine
from hids.ports import Clock

LOCATION = "EventChannel"
"""As Wazuh's users know it."""
MAX_RECORDS = 4_096
"""Records of one reading."""
_BETWEEN_TAGS = re.compile(r">\s+<")


class Record(NamedTuple):
    """One event."""

    bookmark: bytes
    """Where to go on after it."""
    at_ms: int
    xml: str
    message: str = ""
    """Rendered by the publisher; only a live Windows can."""


class EventLog(Protocol):
    """A log that can be read from a bookmark on. Methods block, and are called on a thread."""

    def read(self, after: bytes) -> Sequence[Record]:
        """Up to MAX_RECORDS events after a bookmark, in order; from the oldest on when it is empty or of another log.

        Raises:
            OSError: it cannot be read; the text is for a person.
        """
        ...


class EventLogReader(Collector):
    """What the readers of event logs have in common."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        shape: Shape,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(mailbox, spool, state)
        self._clock = clock
        self._say = say
        self._shape = shape
        self._troubles: dict[str, str] = {}

    async def drain(self, log: EventLog, key: str, after: bytes, place: Place) -> bytes:
        """Read all that is new; returns the bookmark after it.

        Raises:
            OSError: the log cannot be read.
        """
        while True:
            records = await asyncio.to_thread(log.read, after)
            if not records:
                return after
            after = records[-1].bookmark
            for start in range(0, len(records), MAX_BATCH_LINES):
                part = records[start : start + MAX_BATCH_LINES]
                now_ms = self._clock.now_ms()
                lines = [line for record in part if (line := to_line(record, self._shape, place, now_ms)) is not None]
                self._state.skipped += len(part) - len(lines)
                await self.put(tuple(lines), {key: part[-1].bookmark})

    def trouble(self, what: str, problem: str) -> None:
        """Say once what cannot be read; an empty problem is the end of one."""
        if problem and self._troubles.get(what) != problem:
            self._say(f"source unreadable: {what}: {problem}")
        self._troubles = {**self._troubles, what: problem}
        said = next((f"{what}: {text}" for what, text in self._troubles.items() if text), "")
        self._state.state = f"unreadable: {said}" if said else "reading"


def to_line(record: Record, shape: Shape, place: Place, now_ms: int) -> LogLine | None:
    """Write an event as the decoders for Windows' event channel take it; None for one that is left out."""
    xml = _BETWEEN_TAGS.sub("><", record.xml.partition("?>")[2] if record.xml.startswith("<?xml") else record.xml)
    text = msgspec.json.encode({"Message": record.message, "Event": xml.strip()})
    taken = text if shape.is_plain else shape.apply(text, place, now_ms)
    if taken is None:
        return None
    at_ms = record.at_ms if 0 < record.at_ms <= now_ms else now_ms
    return LogLine(location=LOCATION, text=taken[:MAX_LINE_BYTES], at_ms=at_ms, read_ms=now_ms, kind="eventchannel")
