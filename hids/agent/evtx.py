"""EvtxReader: Windows event log files (.evtx), read on any system: forwarded, copied or mounted ones.

A file is told by its contents: when the last event that was read is no longer what it was, this is another log, and it is read
from its oldest event on. So a copy that is made anew every night brings its new events only.
"""

import asyncio
import datetime as dt
import glob
import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import msgspec

from hids.actors.stage import Mailbox
from hids.agent.collector import SourceState
from hids.agent.eventlog import MAX_RECORDS, EventLogReader, Record
from hids.agent.machine import host_address, host_name
from hids.agent.paths import shown
from hids.agent.spooler import Recall
from hids.agent.tail import watch_points
from hids.agent.watch import ENTRIES, MODIFIED, Event, Watcher, WatchError
from hids.core.collect.shape import Place
from hids.core.collect.source import SourceConfig
from hids.ports import Clock

MAX_FILES = 1_000
MAX_BAD_CHUNKS = 64
"""Damaged parts of one file, after which reading it ends."""
CALM_S = 1.0
"""After a notification: whoever copies a file writes it in many pieces."""
RETRY_S = 60.0


class _Bookmark(msgspec.Struct, frozen=True, array_like=True):
    number: int
    """The record's."""
    at: str
    """Its time, as written."""


class EvtxFile:
    """One file as an `EventLog`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, after: bytes) -> Sequence[Record]:
        """See `EventLog.read`."""
        mark = msgspec.msgpack.decode(after, type=_Bookmark) if after else None
        if mark is not None and not self._goes_on(mark):
            mark = None
        above = mark.number if mark is not None else -1
        # Windows writes in a circle: the order in the file is not that of the events.
        first = heapq.nsmallest(MAX_RECORDS, self._records(above), key=lambda record: record["event_record_id"])
        return [_record(record) for record in first]

    def _goes_on(self, mark: _Bookmark) -> bool:
        """Tell whether the file is still the log that the bookmark is of."""
        newest = -1
        for record in self._records(-1):
            number = record["event_record_id"]
            if number == mark.number:
                return bool(record["timestamp"] == mark.at)
            newest = max(newest, number)
        return newest > mark.number

    def _records(self, above: int) -> Iterator[dict[str, Any]]:
        from evtx import PyEvtxParser  # noqa: PLC0415 - only where it is needed

        try:
            records = PyEvtxParser(self._path, 1).records()
        except RuntimeError as error:
            raise OSError(str(error)) from error
        bad = 0
        while bad < MAX_BAD_CHUNKS:
            try:
                record = cast("dict[str, Any]", next(records))
            except StopIteration:
                return
            except RuntimeError:
                bad += 1  # a damaged chunk; the others are whole
                continue
            if record["event_record_id"] > above:
                yield record


def _record(record: dict[str, Any]) -> Record:
    at = str(record["timestamp"])
    try:
        moment = dt.datetime.fromisoformat(at.removesuffix(" UTC").removesuffix("Z")[:26])
        at_ms = int(moment.replace(tzinfo=dt.UTC).timestamp() * 1000)
    except ValueError:
        at_ms = 0
    bookmark = msgspec.msgpack.encode(_Bookmark(record["event_record_id"], at))
    return Record(bookmark, at_ms, str(record["data"]))


class EvtxReader(EventLogReader):
    """Read the files that match one path or glob."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: SourceConfig,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(mailbox, spool, state, config.shape, clock, say)
        self._config = config
        self._prefix = f"evtx:{shown(config.path)}//"
        self._stir = asyncio.Event()
        self._watcher: Watcher | None = None
        self._sizes: dict[str, tuple[int, int]] = {}
        """Path -> (size, time of change) when it was read last."""

    def closing(self) -> None:
        """End the watches."""
        super().closing()
        if self._watcher is not None:
            self._watcher.close()

    async def run(self) -> None:
        """Read what has changed, and wait for notifications."""
        marks: dict[str, bytes] = await self._spool.request(Recall(self._prefix))
        first_time = self._prefix not in marks
        if first_time:
            await self.put((), {self._prefix: b"\x01"})
        while True:
            self._stir.clear()
            self._watch()
            for path in sorted(glob.glob(self._config.path))[:MAX_FILES]:
                await self._read(path, marks, skip=first_time and self._config.from_ == "end")
            first_time = False
            await self.all_stored()
            self._state.idle = True
            await self._calm()
            self._state.idle = False

    async def _calm(self) -> None:
        troubled = any(self._troubles.values())
        try:
            async with asyncio.timeout(RETRY_S if troubled else None):
                await self._stir.wait()
        except TimeoutError:
            return
        await asyncio.sleep(CALM_S)

    async def _read(self, path: str, marks: dict[str, bytes], *, skip: bool) -> None:
        key = self._prefix + shown(path)
        try:
            info = os.stat(path)
            if self._sizes.get(path) == (info.st_size, info.st_mtime_ns):
                return
            file = EvtxFile(path)
            if skip:
                marks[key] = await asyncio.to_thread(_newest, file)
                await self.put((), {key: marks[key]})
            place = Place(shown(path), host_name(), host_address())
            marks[key] = await self.drain(file, key, marks.get(key, b""), place)
            self._sizes[path] = info.st_size, info.st_mtime_ns
            self.trouble(path, "")
        except OSError as error:
            self.trouble(path, error.strerror or str(error))

    def _watch(self) -> None:
        try:
            if self._watcher is None:
                self._watcher = Watcher(self.loop, self._on_events)
            for folder in watch_points(self._config.path):
                self._watcher.add(folder, ENTRIES | MODIFIED)
        except WatchError as error:
            self.trouble(self._config.path, str(error))

    def _on_events(self, _events: list[Event]) -> None:
        self._stir.set()


def _newest(file: EvtxFile) -> bytes:
    """The bookmark after all that a file holds."""
    after = b""
    while records := file.read(after):
        after = records[-1].bookmark
    return after
