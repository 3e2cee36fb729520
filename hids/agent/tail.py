"""Tail: the files of one [[source]], line by line, from the saved position, through every kind of rotation.

    kernel --inotify--> tail --Append--> spool

State    none that a restart loses: each file's position is stored with the lines before it.
Idle     no polling: directories and files are watched. Under load it reads each PACE_S, not at each notification.
Rotated  a file that lost its name is read on until it is deleted or silent for DEPARTED_S; the new one starts at 0.
Emptied  a file that is shorter than the position, or whose first bytes changed, starts over (copytruncate).
Bad file one that cannot be read is said once, as a warning and as a line of the agent, and tried again.
"""

import asyncio
import datetime as dt
import fnmatch
import glob
import os
import stat
from collections.abc import Callable, Iterator

import msgspec
import structlog

from hids.actors.stage import Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.config import SourceConfig, has_glob
from hids.agent.machine import host_address, host_name
from hids.agent.paths import Excluded, shown
from hids.agent.spooler import Recall
from hids.agent.tailed import Manner, Position, TailedFile
from hids.agent.watch import CONTENT, ENTRIES, IGNORED, MODIFIED, OVERFLOWED, Event, Watcher, WatchError
from hids.core.wire.hostinfo import FORMAT
from hids.ports import Clock

log = structlog.get_logger()

PACE_S = 0.25
"""A busy file wakes us at most four times a second; a line after a quiet moment is read at once."""
DEPARTED_S = 60.0
"""Daemons write to the old file until they are told to open the new one."""
RETRY_S = 60.0
MAX_FILES = 1_000
"""Files of one source. Each costs a descriptor and a watch."""
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")

FileId = tuple[int, int]
"""(device, inode)"""


class FileTail(Collector):
    """Read the files that match one path or glob."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: SourceConfig,
        excluded: Excluded,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        """`say` makes a line in which the agent speaks of itself."""
        super().__init__(mailbox, spool, state)
        self._config = config
        self._excluded = excluded
        self._clock = clock
        self._say = say
        self._prefix = f"tail:{shown(config.path)}//"
        self._files: dict[FileId, TailedFile] = {}
        self._watches: dict[int, FileId] = {}
        self._folders: dict[str, int] = {}
        self._ready: dict[FileId, None] = {}
        self._troubles: dict[str, str] = {}
        self._news: dict[str, bytes | None] = {}
        self._look_around = False
        self._stir = asyncio.Event()
        self._stirred_s = 0.0
        self._stir_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        self._watcher: Watcher | None = None
        self._group_timer: asyncio.TimerHandle | None = None
        self._manner = manner_of(config)

    def closing(self) -> None:
        """Close all files and watches."""
        super().closing()
        for timer in (self._stir_timer, self._retry_timer, self._group_timer):
            if timer is not None:
                timer.cancel()
        if self._watcher is not None:
            self._watcher.close()
        for file in self._files.values():
            file.close()
        self._files.clear()

    async def run(self) -> None:
        """Read until cancelled."""
        await self._open_watcher()
        saved = await self._spool.request(Recall(self._prefix))
        self._resume(saved)
        while True:
            if self._ready:
                await self._read_next()
            elif self._news:
                await self.put((), self._take_news())
            elif not self.is_all_stored:
                await self.all_stored()
            else:
                self._state.idle = self._group_timer is None
                await self._stir.wait()
                self._stir.clear()
                self._state.idle = False

    async def _open_watcher(self) -> None:
        while self._watcher is None:
            try:
                self._watcher = Watcher(self.loop, self._on_events)
            except WatchError as error:
                self._trouble(self._config.path, str(error))
                self._show()
                await asyncio.sleep(RETRY_S)
        self._troubles.clear()

    # -- notifications

    def _on_events(self, events: list[Event]) -> None:
        now = self._clock.monotonic_s()
        for event in events:
            file_id = self._watches.get(event.wd)
            if event.mask & IGNORED:
                self._forget_watch(event.wd)
            elif event.mask & OVERFLOWED:
                self._look_around = True
                for each in self._files:
                    self._mark_ready(each, now)
            elif file_id is None:
                self._look_around = True
            else:
                self._mark_ready(file_id, now)
                self._look_around |= event.mask != MODIFIED  # more bytes change no name
        if self._stir_timer is None:
            self._stir_timer = self.loop.call_later(max(0.0, self._stirred_s + PACE_S - now), self._stir_now)
            if self._watcher is not None:
                self._watcher.pause()

    def _stir_now(self) -> None:
        """Open what has appeared, even while reading has to wait: it may be rotated away before there is room."""
        self._stir_timer = None
        self._stirred_s = self._clock.monotonic_s()
        if self._watcher is not None:
            self._watcher.resume()
        if self._look_around:
            self._look(new_since_start=True)
        self._stir.set()

    def _mark_ready(self, file_id: FileId, now_s: float) -> None:
        file = self._files.get(file_id)
        if file is not None:
            if file.behind_since is None:
                file.behind_since = now_s
            self._ready[file_id] = None

    def _forget_watch(self, wd: int) -> None:
        self._watches.pop(wd, None)
        for folder, number in tuple(self._folders.items()):
            if number == wd:
                del self._folders[folder]
                self._look_around = True

    def _come_back_in(self, seconds: float) -> None:
        """Look around again after a while, without a notification."""
        if self._retry_timer is None:
            self._retry_timer = self.loop.call_later(seconds, self._come_back)

    def _come_back(self) -> None:
        self._retry_timer = None
        self._look(new_since_start=True)
        for file_id in self._files:  # some may have no watch
            self._mark_ready(file_id, self._clock.monotonic_s())
        self._stir.set()

    # -- which files

    def _resume(self, saved: dict[str, bytes]) -> None:
        """Open what an earlier life was reading, wherever it is now; find out what is new since."""
        first_time = self._prefix not in saved
        self._news[self._prefix] = b"\x01"
        for key, value in saved.items():
            if key != self._prefix and not self._reopen(msgspec.msgpack.decode(value, type=Position)):
                self._news[key] = None
        self._look(new_since_start=not first_time)

    def _reopen(self, position: Position) -> bool:
        for path in _where_is(position):
            file = self._open(path, location=os.fsdecode(position.path))
            if file is None:
                continue
            if (file.device, file.inode) not in self._files and file.fits(position):
                file.go_to(position)
                file.path = path
                self._add(file)
                return True
            file.close()
        return False

    def _look(self, *, new_since_start: bool) -> None:
        """Compare what matches the path with what is open."""
        self._look_around = False
        self._watch_folders()
        here: set[FileId] = set()
        for path in self._matches():
            file_id = self._identify(path)
            if file_id is None:
                continue
            here.add(file_id)
            known = self._files.get(file_id)
            if known is not None:
                known.path, known.departed_s = path, None
            elif len(self._files) < MAX_FILES:
                self._begin(path, new_since_start=new_since_start)
            else:
                self._trouble(path, f"more than {MAX_FILES} files match {self._config.path}")
        self._part_with(here)
        if self._troubles or "%" in self._config.path:
            self._come_back_in(RETRY_S)  # a date in the path changes without a notification
        self._show()

    def _matches(self) -> Iterator[str]:
        pattern = self._pattern()
        if not has_glob(pattern):
            found = [pattern] if os.path.lexists(pattern) else []
        else:
            found = sorted(glob.glob(pattern, recursive=False))
        for gone in self._troubles.keys() - {*found, self._config.path}:
            del self._troubles[gone]
        return (path for path in found if self._is_wanted(path))

    def _is_wanted(self, path: str) -> bool:
        return (
            not path.endswith(_COMPRESSED)
            and path not in self._excluded
            and not any(fnmatch.fnmatchcase(path, pattern) for pattern in self._config.exclude)
            and not self._is_too_old(path)
        )

    def _is_too_old(self, path: str) -> bool:
        """Tell whether a file was not written for longer than the source cares; one that is being read stays."""
        if not self._config.max_age_s:
            return False
        try:
            info = os.stat(path)
        except OSError:
            return False  # said where it is opened
        age_s = self._clock.now_ms() / 1000 - info.st_mtime
        return age_s > self._config.max_age_s and (info.st_dev, info.st_ino) not in self._files

    def _pattern(self) -> str:
        """The path with today's date in it."""
        return dated(self._config.path, self._clock.now_ms())

    def _identify(self, path: str) -> FileId | None:
        try:
            info = os.stat(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):  # a dangling link waits for its target
                self._trouble(path, error.strerror or str(error))
            return None
        if not stat.S_ISREG(info.st_mode):
            self._trouble(path, "not a regular file")
            return None
        return info.st_dev, info.st_ino

    def _begin(self, path: str, *, new_since_start: bool) -> None:
        """Open a file that was not read before."""
        file = self._open(path, location=path)
        if file is None:
            return
        if not new_since_start and self._config.from_ == "end":
            file.go_to_end()
        elif new_since_start:
            file.behind_since = self._clock.monotonic_s()
        self._add(file)
        self._news[self._key(file)] = msgspec.msgpack.encode(file.position)

    def _open(self, path: str, location: str) -> TailedFile | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._trouble(path, error.strerror or str(error))
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        if self._troubles.pop(path, None) is not None:
            log.info("source readable again", path=shown(path))
        return TailedFile(descriptor, path, shown(location), self._manner)

    def _add(self, file: TailedFile) -> None:
        file_id = file.device, file.inode
        self._files[file_id] = file
        self._ready[file_id] = None
        wd = self._watch(file.watched_as(), CONTENT)
        if wd is not None:
            self._watches[wd] = file_id

    def _part_with(self, here: set[FileId]) -> None:
        """Let go of files that no path leads to any more, once they have been read and are silent."""
        now = self._clock.monotonic_s()
        for file_id, file in tuple(self._files.items()):
            if file_id in here:
                continue
            if file.departed_s is None:
                file.departed_s = now
            self._ready[file_id] = None
            if not file.is_gone():
                self._come_back_in(DEPARTED_S)

    def _let_go(self, file_id: FileId) -> None:
        file = self._files.pop(file_id)
        for wd, watched in tuple(self._watches.items()):
            if watched == file_id and self._watcher is not None:
                self._watcher.remove(wd)
                del self._watches[wd]
        file.close()
        self._news[self._key(file)] = None
        self._show()

    def _watch_folders(self) -> None:
        wanted = watch_points(self._pattern())
        # A file that is too old to be read has no watch of its own: its folder tells when it is written again.
        mask = ENTRIES | MODIFIED if self._config.max_age_s else ENTRIES
        for folder in wanted - self._folders.keys():
            wd = self._watch(folder, mask)
            if wd is not None:
                self._folders[folder] = wd
        for folder in self._folders.keys() - wanted:
            if self._watcher is not None:
                self._watcher.remove(self._folders.pop(folder))

    def _watch(self, path: str, mask: int) -> int | None:
        try:
            return self._watcher.add(path, mask) if self._watcher is not None else None
        except WatchError as error:
            self._trouble(self._config.path, str(error))
            return None

    def _trouble(self, path: str, reason: str) -> None:
        """Say once that a file cannot be read."""
        if self._troubles.get(path) != reason:
            self._troubles[path] = reason
            log.warning("source unreadable", path=shown(path), reason=reason)
            self._say(f"source unreadable: {shown(path)}: {reason.lower()}")

    def _key(self, file: TailedFile) -> str:
        return f"{self._prefix}{file.device}:{file.inode}"

    # -- reading

    async def _read_next(self) -> None:
        """Read one chunk of the file that waits longest."""
        file_id = next(iter(self._ready))
        del self._ready[file_id]
        file = self._files.get(file_id)
        if file is None:
            return
        if file.was_replaced():
            log.info("file was emptied or written anew, starting over", path=shown(file.path))
        before = file.offset
        key = self._key(file)
        final = self._is_over(file)
        for part in file.parts(self._clock.now_ms(), self._clock.monotonic_s(), final=final):
            await self.put(part.lines, {**self._take_news(), key: msgspec.msgpack.encode(part.position)})
        self._state.skipped += file.skipped
        file.skipped = 0
        if file.offset > before:
            if final and file.departed_s is not None and not file.is_gone():
                file.departed_s = self._clock.monotonic_s()
            self._ready[file_id] = None  # behind all others that wait
        else:
            waits_s = file.waits_s(self._clock.monotonic_s())
            if final:
                self._let_go(file_id)
            elif waits_s is None:
                file.behind_since = None
            elif self._group_timer is None:
                self._group_timer = self.loop.call_later(waits_s, self._end_groups)
        self._show()
        await asyncio.sleep(0)

    def _end_groups(self) -> None:
        """Look again at the files in which lines wait for the end of their event."""
        self._group_timer = None
        now_s = self._clock.monotonic_s()
        for file_id, file in self._files.items():
            if file.waits_s(now_s) is not None:
                self._ready[file_id] = None
        self._stir.set()

    def _take_news(self) -> dict[str, bytes | None]:
        """Positions that are to be stored with the next lines."""
        news, self._news = self._news, {}
        return news

    def _is_over(self, file: TailedFile) -> bool:
        """Tell whether nobody will write to it any more."""
        if file.departed_s is None:
            return False
        return file.is_gone() or self._clock.monotonic_s() - file.departed_s >= DEPARTED_S

    def _show(self) -> None:
        self._state.files = {
            _label(file): (file.offset, max(0, file.size() - file.offset)) for file in self._files.values()
        }
        if self._troubles:
            path, reason = next(iter(self._troubles.items()))
            self._state.state = f"unreadable: {shown(path)}: {reason}"
        else:
            self._state.state = "reading" if self._files else "waiting for a file"


def manner_of(config: SourceConfig) -> Manner:
    """How the files of a source are read."""
    return Manner(config.encoding, config.grouping, config.shape, host_name(), host_address(), config.format == FORMAT)


def dated(path: str, now_ms: int) -> str:
    """Put the date (strftime's marks, in this machine's zone) into a path; `%%` is a percent sign."""
    if "%" not in path:
        return path
    return dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).astimezone().strftime(path)


def _label(file: TailedFile) -> str:
    """What status calls a file: a rotated one still has the name it was opened under."""
    return shown(file.path) if file.departed_s is None else f"{shown(file.path)} (rotated, inode {file.inode})"


def watch_points(pattern: str) -> set[str]:
    """Folders whose entries decide what a pattern matches.

    Those are: with a match in them, those in which a missing or variable part of the path may appear, and the folders
    where matching links lead to.
    """
    wanted: set[str] = set()
    level = ["/"]
    *parents, name = [part for part in pattern.split("/") if part]
    for part in parents:
        below: list[str] = []
        for folder in level:
            found = [path for path in _entries(folder, part) if os.path.isdir(path)]
            if has_glob(part) or not found or any(map(os.path.islink, found)):
                wanted.add(folder)
            below += found
        level = below
    wanted.update(level)
    for folder in level:
        wanted.update(
            os.path.dirname(os.path.realpath(path)) for path in _entries(folder, name) if os.path.islink(path)
        )
    return wanted


def _entries(folder: str, part: str) -> list[str]:
    path = os.path.join(folder, part)
    if has_glob(part):
        return glob.glob(os.path.join(glob.escape(folder), part))
    return [path] if os.path.lexists(path) else []


def _where_is(position: Position) -> Iterator[str]:
    """Paths that may lead to a file now: its old one, and what has its inode in the same folder."""
    path = os.fsdecode(position.path)
    yield path
    folder = os.path.dirname(path)
    try:
        with os.scandir(folder) as entries:
            yield from [entry.path for entry in entries if entry.inode() == position.inode]
    except OSError:
        return
