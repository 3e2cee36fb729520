"""Who changed a file: the kernel's word is kept by path, until syscheck tells of the change.

    kernel --fanotify_authors.py or audit_authors.py--> its own thread --path: last author--> facts that syscheck tells

State    none; what was not told yet when the agent ends has no author.
Full     the oldest authors are forgotten. When a queue of the kernel was full, all are, and syscheck scans again: rule
         206156 says so.
Broken   when the agent does not hear of a change of its own, the next way is tried; when there is none, rule 206154 says
         so, and syscheck goes on without authors.
"""

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from hids.agent.audit_authors import AuditAuthors
from hids.agent.authors import Authors, AuthorsError, Scope
from hids.agent.fanotify_authors import FanotifyAuthors
from hids.agent.folders import Folders
from hids.agent.pace import set_priority
from hids.agent.paths import shown
from hids.core.collect.syscheck import WhoProvider
from hids.messages.syscheck import FileFact, Who
from hids.ports import Clock

log = structlog.get_logger()

FOLDER = "whodata"
"""In the state folder: where the agent changes a file of its own."""
MAX_AUTHORS = 16_384
MAX_AGE_S = 600.0
"""A fact that comes later than that after an author's change is of another change."""
NICE = -10
"""Of the thread: who is not looked at at once may have ended."""
PROVE_S = 60.0
"""From one change of our own to the next."""
BOUND_S = 10.0
"""Until it must have been told."""

WAYS: dict[WhoProvider, tuple[Callable[[Scope], Authors], ...]] = {
    "auto": (FanotifyAuthors, AuditAuthors),
    "fanotify": (FanotifyAuthors,),
    "audit": (AuditAuthors,),
}
"""What is tried, in this order."""


class WhoData:
    """Authors of changes. Started and asked by syscheck's thread and loop; reads in a thread of its own."""

    def __init__(
        self,
        folders: Folders,
        state: Path,
        clock: Clock,
        say: Callable[[str], None],
        stir: Callable[[], None],
        lost: Callable[[], None],
        *,
        provider: WhoProvider = "auto",
        prove_s: float = PROVE_S,
        bound_s: float = BOUND_S,
    ) -> None:
        """`state` is the agent's state folder; `stir` is called when `status` changes, `lost` when a queue was full."""
        self._folders = folders
        self._scope = Scope(folders, state / FOLDER / "canary")
        self._canary = Path(self._scope.canary)
        self._clock = clock
        self._say = say
        self._stir = stir
        self._lost = lost
        self._prove_s, self._bound_s = prove_s, bound_s
        self._lock = threading.Lock()
        self._authors: dict[str, tuple[Who, float]] = {}
        """Path as shown -> (who changed it last, when)."""
        self._ways = list(WAYS[provider])
        self._turn = threading.Lock()
        """Held while a way is changed or has a directory added."""
        self._way: Authors | None = None
        self._refused: list[str] = []
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
            self._canary.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            self._fails(f"{self._canary}: {error.strerror}")
            return
        if not self._next_way():
            self._fails("; ".join(self._refused))
            return
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._begin()

    def close(self) -> None:
        """Listen no more."""
        self._over = True
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def cover(self, directory: str) -> None:
        """Have a directory's changes told, and know it again when it is gone. Any thread."""
        if self._over or not self._scope.asks(directory):
            return
        with self._turn:
            if self._way is None:
                return
            try:
                self._way.cover(directory)
            except AuthorsError as error:
                self._refused.append(str(error))
                self._fails(str(error))

    def explain(self, facts: list[FileFact]) -> list[FileFact]:
        """Facts with who made the change, where that is known. An author is named once."""
        return facts if self._way is None else [self._explained(fact) for fact in facts]

    def _explained(self, fact: FileFact) -> FileFact:
        with self._lock:
            who, at_s = self._authors.pop(fact.path, (None, 0.0))
        if who is None or fact.seen == "baseline" or self._clock.monotonic_s() - at_s > MAX_AGE_S:
            return fact
        return msgspec.structs.replace(fact, who=who)

    # -- ways

    def _next_way(self) -> bool:
        """Go over to the next way that can be opened and tells of all folders; returns whether there is one."""
        while self._ways:
            is_last = len(self._ways) == 1
            try:
                way = self._ways.pop(0)(self._scope)
            except AuthorsError as error:
                self._refused.append(str(error))
                continue
            refused = self._cover_roots(way)
            if refused and not is_last:
                self._refused += refused
                way.close()
                continue
            with self._turn:
                before, self._way = self._way, way
                self._refused = refused
            if before is not None:
                before.close()
            for reason in refused:
                self._fails(reason)
            return True
        return False

    def _cover_roots(self, way: Authors) -> list[str]:
        refused: list[str] = []
        for root in self._scope.roots:
            try:
                way.cover(root)
            except AuthorsError as error:
                refused.append(str(error))
        return refused

    # -- in the thread

    def _begin(self) -> None:
        """A thread for each way: audit tells only of threads that began after it was switched on."""
        threading.Thread(target=self._run, name="whodata", daemon=True).start()

    def _run(self) -> None:
        set_priority(NICE, "normal")
        try:
            if self._way is not None:
                self._listen(self._way)
        except AuthorsError as error:
            self._fails(str(error))
        except OSError as error:
            self._fails(f"{self._canary}: {error.strerror}")
        else:
            if not self._over:
                self._begin()
                return
        self._end()

    def _end(self) -> None:
        with self._turn:
            way, self._way = self._way, None
            if way is not None:
                way.close()
            wake, self._wake = self._wake, -1
        os.close(wake)

    def _listen(self, way: Authors) -> None:
        """Until the end, or until another way is gone over to."""
        poll = select.poll()
        for descriptor in (*way.descriptors(), self._wake):
            poll.register(descriptor, select.POLLIN)
        while not self._over and self._way is way:
            self._prove(way)
            poll.poll(max(0.0, self._due_s - self._clock.monotonic_s()) * 1000)
            if not self._over and self._way is way and way.take(self._note):
                self._forget()

    def _prove(self, way: Authors) -> None:
        """Change a file of our own when it is time; when the last change was not told, try another way, or complain."""
        now_s = self._clock.monotonic_s()
        if now_s < self._due_s:
            return
        if self._waits:
            self._waits = False
            if not self._next_way():
                self._fails(f"{way.name}: a change of the agent's own file was not told within {self._bound_s:g} s")
            self._due_s = now_s
            return
        self._waits = True
        self._due_s = now_s + self._bound_s
        way.prove()
        self._canary.write_text("The agent changes this file to see whether the kernel tells who did it.\n")

    def _proved(self, way: Authors) -> None:
        if not self._waits:
            return
        self._waits = False
        self._due_s = self._clock.monotonic_s() + self._prove_s
        if self._refused:
            return
        was, self.status = self.status, f"who-data works ({way.name})" + (f", but {way.lacks}" if way.lacks else "")
        if was != self.status:
            log.info("syscheck: who-data works", by=way.name, lacks=way.lacks)
            self._stir()
            if "does not" in was:
                self._say("who-data works again")

    def _note(self, path: str, who: Who) -> None:
        """Remember an author."""
        if path == self._scope.canary:
            if who.pid == os.getpid() and self._way is not None:
                self._proved(self._way)
            return
        path = shown(path)
        with self._lock:
            before, _ = self._authors.pop(path, (None, 0.0))
            if who.gone and before is not None and before.pid == who.pid:
                who = before  # it was read when it began
            if len(self._authors) >= MAX_AUTHORS:
                del self._authors[next(iter(self._authors))]
            self._authors[path] = who, self._clock.monotonic_s()

    def _forget(self) -> None:
        """Better no author than a wrong one."""
        with self._lock:
            self._authors.clear()
        self._lost()
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= PROVE_S:
            self._told_s = now_s
            log.warning("syscheck: who-data lost, the kernel's queue was full")
            self._say("who-data lost: the kernel's queue was full, who made some changes is unknown; scanning again")

    def _fails(self, reason: str) -> None:
        status = f"who-data does not work: {reason}"
        if status != self.status:
            self.status = status
            log.warning("syscheck: changes are told without their authors", reason=reason)
            self._say(status)
            self._stir()
