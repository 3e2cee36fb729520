"""Syscheck: what changes in the configured directories, by scans and by kernel notifications.

    kernel --inotify--> syscheck <--facts-- its own thread (scan.py);   syscheck --Append--> spool

State    none that a restart loses: what was seen of each path is a position in the spool, stored with its fact.
Full     scanning waits; notifications gather as names, once each; the kernel's overflow makes a new scan of what is watched.
Bursts   a file is looked at when it was quiet for SETTLE_S, at the latest after MAX_SETTLE_S (pending.py).
Kind     one file at a time, within the configured budgets (pace.py).
"""

import asyncio
import datetime
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any, TypeVar

import structlog

from hids.actors.stage import Control, Mailbox
from hids.agent.agreement import digest_lines, listing_lines
from hids.agent.collector import Collector, SourceState
from hids.agent.config import SyscheckConfig
from hids.agent.copies import Copies
from hids.agent.filecache import FileCache, Positions
from hids.agent.folders import Folders
from hids.agent.mounts import Mounts
from hids.agent.observe import Observer
from hids.agent.pace import Pace, set_priority
from hids.agent.packages.databases import databases
from hids.agent.packages.explanation import LOOK_S as PACKAGES_LOOK_S
from hids.agent.packages.explanation import Explanation
from hids.agent.paths import Excluded, shown, spelled
from hids.agent.pending import Pending
from hids.agent.scan import ROOT, Scanner
from hids.agent.sheet import Sheet
from hids.agent.spooler import NOT_NOW, RecallKeys, RecallRange
from hids.agent.watch import IGNORED, OVERFLOWED, Event, Watcher, WatchError
from hids.agent.watches import Watches
from hids.agent.whodata import WhoData
from hids.core.collect.schedule import next_at
from hids.core.wire.facts import pack
from hids.messages.agent_link import AskDigests, Rescan
from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact
from hids.ports import Clock

log = structlog.get_logger()

LOCATION = "syscheck"
COPIES = "copies"
"""Folder of kept copies in the state folder."""
PACKAGES = "packages.db"
"""Index of what packages own, there too."""
MAX_ASKED = 64
"""Requests of the manager that wait; of more the oldest are forgotten, and the manager asks again."""
LOOK_S = 0.2
"""A thread that waits for the loop looks so often whether its life is over."""
AGAIN_S = 0.5
"""Until a question is put again that the spool could not answer because it is full."""
TELL_S = 60.0
"""Lost notifications are told of at most so often."""
MAX_WAIT_S = 3600.0
"""The wall clock may be set: when the next scan is due is seen so often at least."""
T = TypeVar("T")


class ScanNow(Control):
    """anyone in the agent -> syscheck: do not wait for the next scan."""


class Asked(Control):
    """link -> syscheck: what the manager asks for."""

    def __init__(self, order: AskDigests | Rescan) -> None:
        self.order = order


class _Over(Exception):  # noqa: N818 - a state
    """This life is over; its thread ends."""


class Syscheck(Collector):
    """Watch directories."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: SyscheckConfig,
        excluded: Excluded,
        folder: Path,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        """`folder` is the agent's state folder."""
        super().__init__(mailbox, spool, state)
        self._config = config
        self._clock = clock
        self._say = say
        self._folders = Folders(config, excluded)
        self._thread = ThreadPoolExecutor(1, "syscheck", set_priority, (config.nice, config.ioprio))
        self._over = threading.Event()
        self._pending = Pending()
        self._scan_due_s = 0.0 if config.scan_on_start else self._next_scan_s()
        self._stir = asyncio.Event()
        self._has_lost = False
        self._told_s = float("-inf")
        self._missing: set[str] = set()
        self._asked: deque[AskDigests | Rescan] = deque(maxlen=MAX_ASKED)
        self._watcher = self._open_watcher() if self._folders.watches else None
        self._who = WhoData(
            self._folders,
            folder,
            clock,
            self._say_from_thread,
            self._stir_from_thread,
            self._overflow_from_thread,
            provider=config.whodata_provider,
        )
        self._watches = Watches(self._watcher, self._say_from_thread, self._who.cover)
        self._cache = FileCache(self._ask)
        found = databases() if config.packages else []
        self._packages = Explanation(folder / PACKAGES, found, self._folders.roots, clock, self._rest)
        self._packages_looked_s = 0.0
        pace = Pace(config.max_bytes_per_s, self._rest)
        self._scanner = Scanner(
            self._folders,
            Observer(config.max_file_bytes, config.prefilter_cmd, pace.pay),
            self._cache,
            Sheet(self._put),
            self._watches,
            Mounts(skip_network=config.skip_nfs),
            Copies(folder / COPIES, max_bytes=config.diff_max_bytes, budget_bytes=config.diff_budget_bytes),
            max_files=config.max_files,
            tells_new=config.alert_new_files,
            meanwhile=self._look_meanwhile,
            say=self._say_from_thread,
        )

    def on_receive(self, message: Any) -> None:
        """Scan when told to."""
        match message:
            case ScanNow():
                self._scan_due_s = self._clock.monotonic_s()
                self._stir.set()
            case Asked():
                self._asked.append(message.order)
                self._stir.set()
            case _:
                super().on_receive(message)

    def closing(self) -> None:
        """Stop watching; the thread ends at its next question or file."""
        super().closing()
        self._over.set()
        self._who.close()
        if self._watcher is not None:
            self._watcher.close()
        self._thread.submit(self._packages.close)
        self._thread.shutdown(wait=False)

    async def run(self) -> None:
        """Scan when it is time, look at what was notified in between."""
        await self._in_thread(self._who.start)
        await self._in_thread(self._packages.sync)
        await self._in_thread(self._forget_old)
        while True:
            if self._clock.monotonic_s() >= self._scan_due_s:
                self._scan_due_s = float("inf")
                self._has_lost = False
                await self._in_thread(self._scan)
                self._scan_due_s = min(self._scan_due_s, self._next_scan_s())
            elif self._has_lost:
                self._has_lost = False
                await self._in_thread(self._scan_watched)
            elif self._asked:
                await self._in_thread(self._answer)
            elif self._pending.due_s() <= self._clock.monotonic_s():
                await self._in_thread(self._look_meanwhile)
            else:
                await self._wait()

    def _next_scan_s(self) -> float:
        """When the next scan is due, by the monotonic clock."""
        config, now_s = self._config, self._clock.monotonic_s()
        due_s = now_s + config.scan_interval_s if config.scan_interval_s else float("inf")
        if config.scan_time or config.scan_day:
            now = datetime.datetime.fromtimestamp(self._clock.now_ms() / 1000).astimezone()
            due_s = min(due_s, now_s + (next_at(now, config.scan_day, config.scan_time) - now).total_seconds())
        return due_s

    # -- notifications

    def _open_watcher(self) -> Watcher | None:
        try:
            return Watcher(self.loop, self._on_events)
        except WatchError as error:
            log.warning("syscheck: changes are found by scans only", reason=str(error))
            return None

    def _on_events(self, events: list[Event]) -> None:
        now_s = self._clock.monotonic_s()
        for event in events:
            directory = self._watches.directory(event.wd)
            if event.mask & OVERFLOWED:
                self._overflowed()
                self._tell_overflow()
            elif event.mask & IGNORED:
                self._watches.drop(event.wd)
            elif directory is not None:
                path = os.path.join(directory, event.name) if event.name else directory
                if self._folders.has(path):  # what no root leads to (a root's own parent) is none of ours
                    self._pending.note(os.path.split(path), now_s, event.cookie)
        self._stir.set()

    def _overflowed(self) -> None:
        """A queue of the kernel was full: look at all that is watched, for anything may have changed."""
        self._state.overflows += 1
        self._has_lost = True
        self._stir.set()

    def _tell_overflow(self) -> None:
        log.warning("syscheck: notifications were lost, scanning again")
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            self._say("notifications lost: the kernel's queue was full (fs.inotify.max_queued_events): scanning again")

    async def _wait(self) -> None:
        await self.all_stored()
        self._state.idle = not self._pending
        if self._who.status or self._state.overflows:
            self._state.state = self._resting
        due_s = min(self._scan_due_s, self._pending.due_s()) - self._clock.monotonic_s()
        try:
            async with asyncio.timeout(min(max(0.001, due_s), MAX_WAIT_S)):
                await self._stir.wait()
        except TimeoutError:
            pass
        self._stir.clear()
        self._state.idle = False

    # -- in the thread

    def _scan(self) -> None:
        """Go through all directories once."""
        self._scan_roots(self._folders.roots)

    def _scan_watched(self) -> None:
        """Go through what the kernel should have told of."""
        self._scan_roots(self._folders.live_roots)

    def _scan_roots(self, roots: list[str]) -> None:
        began_s = self._clock.monotonic_s()
        news = self._scanner.begin()
        known = self._ask(RecallKeys(tuple(ROOT + shown(root) for root in roots)))
        for root in roots:
            self._state.state = f"scanning {shown(root)}"
            if self._scanner.scan(root, news, first_time=ROOT + shown(root) not in known):
                self._missing.discard(root)
            else:
                self._is_missing(root)
        self._scanner.settle(news)
        self._ask(RecallKeys(()))  # answered when all is on disk: a scan that was finished is remembered
        log.info(
            "syscheck: scan finished",
            paths=self._scanner.files,
            seconds=round(self._clock.monotonic_s() - began_s, 2),
        )
        self._state.state = self._resting

    @property
    def _resting(self) -> str:
        """What it does when nothing is to be done."""
        state = "watching" if self._watches.is_on else "waiting for the next scan"
        if self._state.overflows:
            state += f", the kernel's queue overflowed: {self._state.overflows}"
        return f"{state}, {self._who.status}" if self._who.status else state

    def _look_meanwhile(self) -> None:
        """Look at what was notified and is quiet by now; not while a package manager is at work."""
        if self._over.is_set():
            raise _Over
        now_s = self._clock.monotonic_s()
        if now_s - self._packages_looked_s >= PACKAGES_LOOK_S:
            self._packages.await_quiet()
            self._packages_looked_s = self._clock.monotonic_s()
        entries = self._pending.take(self._clock.monotonic_s())
        if entries:
            self._scanner.look_at(entries)

    def _answer(self) -> None:
        """Do what the manager asks for."""
        match order := self._asked.popleft():
            case AskDigests():
                self._put_texts(digest_lines(self._cache, order.check, order.top))
            case Rescan():
                for path in self._watched_at(order.paths or ("/",)):
                    self._state.state = f"looking anew at {shown(path)}"
                    self._scanner.look_anew(path, baseline=order.baseline)
                    self._put_texts(listing_lines(self._cache, shown(path)))

    def _watched_at(self, paths: tuple[str, ...]) -> list[str]:
        """What is watched of what lies at or below some paths (as shown)."""
        found: list[str] = []
        for path in (os.fsdecode(spelled(path)).rstrip("/") or "/" for path in paths):
            below = path.rstrip("/") + "/"
            found += [path] if self._folders.has(path) else [r for r in self._folders.roots if r.startswith(below)]
        return list(dict.fromkeys(found))

    def _forget_old(self) -> None:
        """Forget what is known of folders that are configured no more, and what earlier versions knew of files."""
        roots = {ROOT + shown(root) for root in self._folders.roots}
        for key, _ in self._ask(RecallRange(ROOT, ROOT + "\U0010ffff", 1_000_000)):
            if key not in roots:
                self._scanner.forget(key[len(ROOT) :], inside=self._folders.has(key[len(ROOT) :]))
        for prefix in ("file:", "scanned:"):
            while old := self._ask(RecallRange(prefix, prefix + "\U0010ffff", 500)):
                self._put([], dict.fromkeys((key for key, _ in old), None))

    def _is_missing(self, root: str) -> None:
        if root not in self._missing:
            self._missing.add(root)
            log.warning(
                "syscheck: directory is not there", directory=shown(root), to_do="make it, or correct agent.toml"
            )
            self._say_from_thread(f"source unreadable: {shown(root)}: no such directory")

    # -- between thread and loop

    async def _in_thread(self, work: Callable[[], None]) -> None:
        """Do blocking work beside the loop."""
        await self.loop.run_in_executor(self._thread, work)

    def _ask(self, question: object) -> Any:
        """Put a question to the spooler; while that cannot store what it has, wait."""
        while (answer := self._on_loop(self._spool.request(question))) is NOT_NOW:
            self._rest(AGAIN_S)
        return answer

    def _put(self, facts: list[FileFact], positions: Positions) -> None:
        self._put_lines(pack(self._who.explain(self._packages.explain(facts))), positions)

    def _put_texts(self, texts: Iterable[bytes]) -> None:
        for text in texts:
            self._put_lines((text,), {})

    def _put_lines(self, texts: Iterable[bytes], positions: Positions) -> None:
        now_ms = self._clock.now_ms()
        lines = tuple(
            LogLine(location=LOCATION, text=text, at_ms=now_ms, read_ms=now_ms, kind="syscheck") for text in texts
        )
        self._on_loop(self.put(lines, positions))

    def _say_from_thread(self, text: str) -> None:
        if not self._over.is_set():
            self.loop.call_soon_threadsafe(self._say, text)

    def _overflow_from_thread(self) -> None:
        if not self._over.is_set():
            self.loop.call_soon_threadsafe(self._overflowed)

    def _stir_from_thread(self) -> None:
        if not self._over.is_set():
            self.loop.call_soon_threadsafe(self._stir.set)

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the loop do something, and wait for its end."""
        if self._over.is_set():
            work.close()
            raise _Over
        try:
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError as error:  # the loop is closed
            work.close()
            raise _Over from error
        while True:
            try:
                return future.result(LOOK_S)
            except NotYet:
                if self._over.is_set():
                    future.cancel()
                    raise _Over from None
            except CancelledError as error:
                raise _Over from error

    def _rest(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise _Over
