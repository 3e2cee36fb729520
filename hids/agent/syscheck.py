"""Syscheck: what changes in the configured directories, by scans and by kernel notifications.

    kernel --inotify--> syscheck <--facts-- its own thread (stat, hash);   syscheck --Append--> spool

State    none that a restart loses: what was seen of each path is a position in the spool, stored with its fact.
Full     scanning waits; notifications gather as names, once each; the kernel's overflow makes a new scan.
Bursts   a file is looked at when it was quiet for SETTLE_S, at the latest after MAX_SETTLE_S.
Kind     one file at a time, and as much rest as work: half a core at most.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import msgspec
import structlog

from hids.actors.stage import Control, Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.config import SyscheckConfig
from hids.agent.observe import Change, Known, Observer, Seen, forget_names, is_directory, subdirectories
from hids.agent.paths import Excluded, shown
from hids.agent.spooler import Recall
from hids.agent.watch import IGNORED, OVERFLOWED, TREE, Event, Watcher, WatchError
from hids.messages import LogLine
from hids.ports import Clock

log = structlog.get_logger()

LOCATION = "syscheck"
SETTLE_S = 0.1
MAX_SETTLE_S = 1.0
SLICE_S = 0.05
"""Work in one go before others get a turn."""
SLICE_FILES = 128
MAX_REST_S = 1.0
T = TypeVar("T")
_KEY = "file:"
_SCANNED = "scanned:"

Entry = tuple[str, str]
"""(directory, name)"""


class ScanNow(Control):
    """anyone in the agent -> syscheck: do not wait for the next scan."""


class Syscheck(Collector):
    """Watch directories."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: SyscheckConfig,
        excluded: Excluded,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(mailbox, spool, state)
        self._config = config
        self._clock = clock
        self._say = say
        self._roots = outermost(config.directories)
        self._observer = Observer(config.ignore, excluded, config.max_file_bytes)
        self._thread = ThreadPoolExecutor(1, "syscheck")
        self._watcher: Watcher | None = None
        self._directories: dict[int, str] = {}
        self._watched: dict[str, int] = {}
        self._pending: dict[Entry, tuple[float, float]] = {}
        """Entry -> monotonic times of its first and last notification."""
        self._scan_due_s = 0.0
        self._stir = asyncio.Event()
        self._missing: set[str] = set()
        self._full = False

    def on_receive(self, message: Any) -> None:
        """Scan when told to."""
        match message:
            case ScanNow():
                self._scan_due_s = self._clock.monotonic_s()
                self._stir.set()
            case _:
                super().on_receive(message)

    def closing(self) -> None:
        """Stop watching."""
        super().closing()
        if self._watcher is not None:
            self._watcher.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self) -> None:
        """Scan when it is time, look at what was notified in between."""
        if self._config.realtime:
            self._open_watcher()
        while True:
            if self._clock.monotonic_s() >= self._scan_due_s:
                self._scan_due_s = float("inf")
                await self._scan()
                self._scan_due_s = min(self._scan_due_s, self._clock.monotonic_s() + self._config.scan_interval_s)
            elif settled := self._settled():
                await self._look_at(settled)
            else:
                await self._wait()

    def _open_watcher(self) -> None:
        try:
            self._watcher = Watcher(self.loop, self._on_events)
        except WatchError as error:
            log.warning("syscheck: changes are found by scans only", reason=str(error))

    # -- notifications

    def _on_events(self, events: list[Event]) -> None:
        now = self._clock.monotonic_s()
        for event in events:
            directory = self._directories.get(event.wd)
            if event.mask & OVERFLOWED:
                log.warning("notifications were lost, scanning again")
                self._scan_due_s = now
            elif event.mask & IGNORED:
                self._unwatch(event.wd)
            elif directory is not None:
                self._note(os.path.join(directory, event.name) if event.name else directory, now)
        self._stir.set()

    def _note(self, path: str, now_s: float) -> None:
        """Remember to look at a path once it is quiet. What no root leads to (a root's own parent) is none of ours."""
        if self._is_below_a_root(path):
            entry = os.path.split(path)
            first, _ = self._pending.get(entry, (now_s, now_s))
            self._pending[entry] = first, now_s

    def _settled(self) -> list[Entry]:
        """Take the entries that have been quiet for long enough."""
        now = self._clock.monotonic_s()
        ready = [entry for entry, times in self._pending.items() if _due(times) <= now]
        for entry in ready:
            del self._pending[entry]
        return ready

    async def _wait(self) -> None:
        await self.all_stored()
        self._state.idle = not self._pending
        due = min([self._scan_due_s, *map(_due, self._pending.values())])
        try:
            async with asyncio.timeout(max(0.001, due - self._clock.monotonic_s())):
                await self._stir.wait()
        except TimeoutError:
            pass
        self._stir.clear()
        self._state.idle = False

    # -- looking

    async def _scan(self) -> None:
        """Go through all directories once."""
        forget_names()
        for root in self._roots:
            key = _SCANNED + shown(root)
            first_time = key not in await self._spool.request(Recall(key))
            self._state.state = f"scanning {shown(root)}"
            seen: Seen = "baseline" if first_time else "scan"
            await self._check(*os.path.split(root), seen)  # the directory itself: its owner and mode
            if is_directory(root):
                self._missing.discard(root)
                await self._check_tree(root, seen)
                await self.put((), {key: b"\x01"})
            else:
                self._is_missing(root)
        self._state.state = "watching" if self._watcher is not None and not self._full else "waiting for the next scan"

    def _is_missing(self, root: str) -> None:
        if root not in self._missing:
            self._missing.add(root)
            log.warning(
                "syscheck: directory is not there", directory=shown(root), to_do="make it, or correct agent.toml"
            )
            self._say(f"source unreadable: {shown(root)}: no such directory")

    async def _check_tree(self, top: str, seen: Seen) -> None:
        """Check a directory and all below it."""
        waiting = [top]
        while waiting:
            if seen != "live":  # a long scan does not hold up what happens meanwhile
                await self._look_at(self._settled())
            directory = waiting.pop()
            if self._observer.is_ignored(directory):
                continue
            self._watch(directory)  # before looking: what changes after the look is notified
            await self._check(directory, "", seen)
            waiting += reversed(await self._in_thread(partial(subdirectories, directory)))

    async def _look_at(self, entries: list[Entry]) -> None:
        """Check single entries, directory by directory."""
        for directory, name in entries:
            await self._check(directory, name, "live")
            path = os.path.join(directory, name)
            if path not in self._watched and is_directory(path):
                await self._check_tree(path, "live")

    async def _check(self, directory: str, name: str, seen: Seen) -> None:
        """Compare a directory's entries, or the one of that name, with what is known, and store what is news."""
        prefix = _prefix(directory)
        saved: dict[str, bytes] = await self._spool.request(Recall(prefix + shown(name)))
        known = {key[len(prefix) :]: msgspec.msgpack.decode(value, type=Known) for key, value in saved.items()}
        changes = self._observer.changes(directory, known, [name] if name else None, seen)
        while part := await self._in_thread(partial(_take, changes)):
            await self._store(prefix, part)
            for change in part:
                if change.known is None and change.fact is not None and change.fact.kind == "dir":
                    await self._check_gone(change.fact.path, seen)

    async def _check_gone(self, top: str, seen: Seen) -> None:
        """Tell of all that was known below a directory that is no more.

        Args:
            top: its path as shown.
            seen: goes into the facts.
        """
        below = top + "/"
        for path, wd in tuple(self._watched.items()):
            if self._watcher is not None and (shown(path) + "/").startswith(below):
                self._unwatch(wd)
                self._watcher.remove(wd)
        saved: dict[str, bytes] = await self._spool.request(Recall(_KEY + below))
        items = iter(saved.items())
        while part := tuple(islice(items, SLICE_FILES)):
            facts = [msgspec.msgpack.decode(value, type=Known).fact for _, value in part]
            lines = tuple(self._line(msgspec.structs.replace(fact, seen=seen, gone=True)) for fact in facts)
            await self.put(lines, dict.fromkeys((key for key, _ in part), None))

    async def _store(self, prefix: str, changes: list[Change]) -> None:
        lines = tuple(self._line(change.fact) for change in changes if change.fact is not None)
        positions = {
            prefix + change.name: None if change.known is None else msgspec.msgpack.encode(change.known)
            for change in changes
        }
        await self.put(lines, positions)

    def _line(self, fact: object) -> LogLine:
        now_ms = self._clock.now_ms()
        return LogLine(
            location=LOCATION, text=msgspec.msgpack.encode(fact), at_ms=now_ms, read_ms=now_ms, kind="syscheck"
        )

    def _watch(self, directory: str) -> None:
        if self._watcher is None or self._full:
            return
        try:
            wd = self._watcher.add(directory, TREE)
        except WatchError as error:
            self._full = True  # said once; scans go on
            log.warning("syscheck: some directories are checked by scans only", reason=str(error))
            return
        if wd is not None:
            self._unwatch(wd)  # a moved directory keeps its number
            self._directories[wd] = directory
            self._watched[directory] = wd

    def _unwatch(self, wd: int) -> None:
        directory = self._directories.pop(wd, None)
        if directory is not None and self._watched.get(directory) == wd:
            del self._watched[directory]

    def _is_below_a_root(self, path: str) -> bool:
        return any(path == root or path.startswith(root.rstrip("/") + "/") for root in self._roots)

    async def _in_thread(self, work: Callable[[], list[T]]) -> list[T]:
        """Do blocking work beside the loop, then rest as long as it took."""
        began = time.perf_counter()
        result = await self.loop.run_in_executor(self._thread, work)
        await asyncio.sleep(min(time.perf_counter() - began, MAX_REST_S))
        return result


def outermost(directories: tuple[str, ...]) -> list[str]:
    """The directories with links resolved, without those that lie below others."""
    real = sorted({os.path.realpath(directory) for directory in directories})
    return [
        path for path in real if not any(other != path and path.startswith(other.rstrip("/") + "/") for other in real)
    ]


def _due(times: tuple[float, float]) -> float:
    first, last = times
    return min(last + SETTLE_S, first + MAX_SETTLE_S)


def _prefix(directory: str) -> str:
    """Keys of a directory's entries. No path has two slashes in a row, so those of directories below are elsewhere."""
    return f"{_KEY}{shown(directory)}//"


def _take(changes: Iterator[Change]) -> list[Change]:
    """Some changes: a bounded number, from a bounded time of work."""
    end = time.perf_counter() + SLICE_S
    part: list[Change] = []
    for change in changes:
        part.append(change)
        if len(part) >= SLICE_FILES or time.perf_counter() > end:
            break
    return part
