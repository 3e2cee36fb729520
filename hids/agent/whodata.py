"""Who changed a file: the kernel's word (fanotify.py) is kept by path, until syscheck tells of the change.

    kernel --fanotify--> its own thread --path: last author--> facts that syscheck tells

State    none; what was not told yet when the agent ends has no author.
Full     the oldest authors are forgotten. When the kernel's queue was full, all are: rule 206156 says so.
Broken   when the agent does not hear of a change of its own, rule 206154 says so, and syscheck goes on without authors.
"""

import os
import select
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from hids.agent.fanotify import (
    MOVED_FROM,
    MOVED_TO,
    ONDIR,
    OVERFLOW,
    Directory,
    Event,
    Fanotify,
    FanotifyError,
    handle_of,
)
from hids.agent.folders import Folders
from hids.agent.pace import set_priority
from hids.agent.paths import shown
from hids.agent.process import who_is
from hids.messages.syscheck import FileFact, Who
from hids.ports import Clock

log = structlog.get_logger()

FOLDER = "whodata"
"""In the state folder: where the agent changes a file of its own."""
MAX_AUTHORS = 16_384
MAX_DIRECTORIES = 65_536
"""Handles of watched directories, and as many of others, that are remembered: some 20 MiB."""
MAX_AGE_S = 600.0
"""A fact that comes later than that after an author's change is of another change."""
NICE = -10
"""Of the thread: who is not looked at at once may have ended."""
PROVE_S = 60.0
"""From one change of our own to the next."""
BOUND_S = 10.0
"""Until it must have been told."""


class WhoData:
    """Authors of changes. Started and asked by syscheck's thread and loop; reads in a thread of its own."""

    def __init__(
        self,
        folders: Folders,
        state: Path,
        clock: Clock,
        say: Callable[[str], None],
        stir: Callable[[], None],
        *,
        prove_s: float = PROVE_S,
        bound_s: float = BOUND_S,
    ) -> None:
        """`state` is the agent's state folder; `stir` is called when `status` changes."""
        self._folders = folders
        self._canary = state / FOLDER / "canary"
        self._clock = clock
        self._say = say
        self._stir = stir
        self._prove_s, self._bound_s = prove_s, bound_s
        self._lock = threading.Lock()
        self._authors: dict[str, tuple[Who, float]] = {}
        """Path as shown -> (who changed it last, when)."""
        self._watched: dict[Directory, str] = {}
        self._elsewhere: set[Directory] = set()
        self._marked: set[int] = set()
        self._refused: set[int] = set()
        self._own: Directory | None = None
        self._fanotify: Fanotify | None = None
        self._wake = -1
        self._over = False
        self._due_s = 0.0
        self._waits = False
        self._told_s = float("-inf")
        self.status = "who-data is being tried" if folders.asks_who else ""
        """For people: whether it works."""

    # -- from syscheck

    def start(self) -> None:
        """Begin to listen, if any folder asks for it."""
        if not self._folders.asks_who:
            return
        try:
            self._fanotify = self._open()
        except FanotifyError as error:
            self._fails(str(error))
            return
        except OSError as error:
            self._fails(f"{self._canary}: {error.strerror}")
            return
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for root in self._folders.who_roots:
            self.cover(root)
        threading.Thread(target=self._run, args=(self._fanotify,), name="whodata", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._over = True
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def cover(self, directory: str) -> None:
        """Have a directory's changes told, and know it again when it is gone. Any thread."""
        if self._fanotify is None or self._over or not self._asks(directory):
            return
        handle = handle_of(directory)
        if handle is None:
            return
        if handle[0] not in self._marked and handle[0] not in self._refused:
            try:
                self._fanotify.mark_filesystem(directory)
                self._marked.add(handle[0])
            except FanotifyError as error:
                self._refused.add(handle[0])
                self._fails(str(error))
        if len(self._watched) < MAX_DIRECTORIES:
            self._watched[handle] = directory

    def explain(self, facts: list[FileFact]) -> list[FileFact]:
        """Facts with who made the change, where that is known. An author is named once."""
        return facts if self._fanotify is None else [self._explained(fact) for fact in facts]

    def _explained(self, fact: FileFact) -> FileFact:
        with self._lock:
            who, at_s = self._authors.pop(fact.path, (None, 0.0))
        if who is None or fact.seen == "baseline" or self._clock.monotonic_s() - at_s > MAX_AGE_S:
            return fact
        return msgspec.structs.replace(fact, who=who)

    # -- in the thread

    def _open(self) -> Fanotify:
        self._canary.parent.mkdir(mode=0o700, exist_ok=True)
        fanotify = Fanotify()
        try:
            fanotify.mark_directory(str(self._canary.parent))
        except FanotifyError:
            fanotify.close()
            raise
        self._own = handle_of(str(self._canary.parent))
        return fanotify

    def _run(self, fanotify: Fanotify) -> None:
        set_priority(NICE, "normal")
        poll = select.poll()
        poll.register(fanotify.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while not self._over:
                self._prove()
                poll.poll(max(0.0, self._due_s - self._clock.monotonic_s()) * 1000)
                if not self._over:
                    self._take(fanotify, fanotify.read())
        except FanotifyError as error:
            self._fails(str(error))
        except OSError as error:
            self._fails(f"{self._canary}: {error.strerror}")
        finally:
            self._fanotify = None
            fanotify.close()
            wake, self._wake = self._wake, -1
            os.close(wake)

    def _prove(self) -> None:
        """Change a file of our own when it is time; complain when the last change was not told."""
        now_s = self._clock.monotonic_s()
        if now_s < self._due_s:
            return
        if self._waits:
            self._fails(f"a change of the agent's own file was not told within {self._bound_s:g} s")
        self._waits = True
        self._due_s = now_s + self._bound_s
        self._canary.write_text("The agent changes this file to see whether the kernel tells who did it.\n")

    def _proved(self) -> None:
        if not self._waits:
            return
        self._waits = False
        self._due_s = self._clock.monotonic_s() + self._prove_s
        if self._refused:
            return
        was, self.status = self.status, "who-data works"
        if was != self.status:
            log.info("syscheck: who-data works")
            self._stir()
            if "not" in was:
                self._say("who-data works again")

    def _take(self, fanotify: Fanotify, events: Iterable[Event]) -> None:
        processes: dict[int, Who] = {}
        try:
            for event in events:
                self._take_one(fanotify, event, processes)
        finally:
            for event in events:
                if event.pidfd >= 0:
                    os.close(event.pidfd)

    def _take_one(self, fanotify: Fanotify, event: Event, processes: dict[int, Who]) -> None:
        if event.mask & OVERFLOW:
            self._lost()
            return
        if event.directory is None or event.directory in self._elsewhere:
            return
        if event.directory == self._own:
            if event.pid == os.getpid():
                self._proved()
            return
        directory = self._where(fanotify, event.directory)
        if directory is None:
            return
        path = directory if event.name in (b".", b"") else os.path.join(directory, os.fsdecode(event.name))
        if self._folders.has(path):  # what no root leads to (a root's own parent) is none of ours
            if event.pid not in processes:
                processes[event.pid] = who_is(event.pid, event.pidfd)
            self._note(shown(path), processes[event.pid])
        if event.mask & ONDIR and event.mask & (MOVED_FROM | MOVED_TO):
            self._watched.clear()  # the handles of all below have other paths now
            self._elsewhere.clear()

    def _where(self, fanotify: Fanotify, handle: Directory) -> str | None:
        """The path of a directory whose entries matter to us."""
        known = self._watched.get(handle)
        if known is not None:
            return known
        path = fanotify.path_of(handle)
        if path is None:
            return None
        if self._asks(path) or any(os.path.dirname(root) == path for root in self._folders.who_roots):
            if len(self._watched) < MAX_DIRECTORIES:
                self._watched[handle] = path
            return path
        if len(self._elsewhere) >= MAX_DIRECTORIES:
            self._elsewhere.clear()
        self._elsewhere.add(handle)
        return None

    def _asks(self, directory: str) -> bool:
        return self._folders.has(directory) and self._folders.of(directory).whodata

    def _note(self, path: str, who: Who) -> None:
        with self._lock:
            before, _ = self._authors.pop(path, (None, 0.0))
            if who.gone and before is not None and before.pid == who.pid:
                who = before  # it was read when it began
            if len(self._authors) >= MAX_AUTHORS:
                del self._authors[next(iter(self._authors))]
            self._authors[path] = who, self._clock.monotonic_s()

    def _lost(self) -> None:
        """Better no author than a wrong one."""
        with self._lock:
            self._authors.clear()
        self._watched.clear()  # a directory may have moved
        self._elsewhere.clear()
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= PROVE_S:
            self._told_s = now_s
            log.warning("syscheck: who-data lost, the kernel's queue was full")
            self._say("who-data lost: the kernel's queue was full, who made some changes is unknown")

    def _fails(self, reason: str) -> None:
        status = f"who-data does not work: {reason}"
        if status != self.status:
            self.status = status
            log.warning("syscheck: changes are told without their authors", reason=reason)
            self._say(status)
            self._stir()
