"""Processes that began, changed and ended while the agent looked on: who one was is known after it has ended.

    kernel --connector--> forks: as the parent; other programs: out of /proc at once; ends --> kept for a while

State    none; of what began before the agent, the parents of what begins are looked at.
Full     the oldest are forgotten. When the kernel's queue was full, all are, for a number may have another owner by now.
Storms   at most `MAX_GLANCES` processes are looked at in a second; who the others were is not known once they have ended.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from hids.agent.connector import ACK, EXEC, EXIT, FORK, GID, UID, Connector, ConnectorError, ProcessEvent
from hids.agent.process import glance, program_of
from hids.messages.syscheck import Who

MAX_LIVING = 8_192
MAX_ENDED = 4_096
"""Together some 12 MiB at most: who they are is shared with their parents until they run another program."""
MAX_GLANCES = 1_000
"""In a second; one takes some 0.1 ms."""
_NO_PROGRAM = "/proc/self/no-such-program"
_SECOND_NS = 1_000_000_000


class _Life:
    """What one owner of a number was."""

    __slots__ = ("before_ns", "ended_ns", "parent", "ppid", "who")

    def __init__(self, who: Who | None, ppid: int, parent: str, before_ns: int) -> None:
        self.who = who
        """Its own, or its parent's of which it is a copy; None: it was not looked at in time."""
        self.ppid = ppid
        self.parent = parent
        """Path of the parent's program."""
        self.before_ns = before_ns
        """Until then others may have had the number."""
        self.ended_ns = 0


class Processes:
    """What is known of processes. For one thread."""

    def __init__(self, connector: Connector, look: Callable[[int, int], Who | None] = glance) -> None:
        self._connector = connector
        self._look = look
        self._living: dict[int, _Life] = {}
        self._ended: dict[int, _Life] = {}
        self._forgotten_ns = time.monotonic_ns()
        """Of what ended until then not all is known."""
        self._second = 0
        self._glances = 0
        self._own = os.getpid()
        self._hears = False
        self.lost = 0
        """Times that the kernel's queue was full."""

    def fileno(self) -> int:
        """For select and poll."""
        return self._connector.fileno()

    def close(self) -> None:
        """Hear no more."""
        self._connector.close()

    def hear(self) -> int:
        """Take in what has happened, and say how much that was. Does not wait."""
        count = 0
        try:
            for event in self._connector.read():
                self._take(event)
                count += 1
        except ConnectorError:
            self.lost += 1
            self._living.clear()
            self._ended.clear()
            self._forgotten_ns = time.monotonic_ns()
        return count

    def recall(self, pid: int, since_ns: int | None) -> Who | None:
        """Who has or had a number; None when that is not known for certain.

        Args:
            pid: the number.
            since_ns: who is meant had it at some time since then (CLOCK_MONOTONIC); None: who is meant has it now.
        """
        life = self._living.get(pid) or self._ended.get(pid)
        if life is None or life.who is None or (since_ns is not None and life.before_ns > since_ns):
            return None
        return msgspec.structs.replace(life.who, pid=pid, ppid=life.ppid, parent=life.parent)

    def prove(self) -> bool:
        """Begin a process, which fails to run a program that is not there; returns whether that was told at once."""
        self._hears = False
        with suppress(OSError):
            os.posix_spawn(_NO_PROGRAM, [_NO_PROGRAM], {})
        self.hear()
        return self._hears

    def _take(self, event: ProcessEvent) -> None:
        what, pid = event.what, event.pid
        if what == FORK:
            self._begin(event.last, pid, event.at_ns)
        elif what == EXIT:
            self._end(pid, event.at_ns)
        elif what == EXEC:
            self._become(pid, event.at_ns)
        elif what != ACK:
            self._alter(pid, event)

    def _begin(self, pid: int, ppid: int, at_ns: int) -> None:
        self._hears |= ppid == self._own
        parent = self._living.get(ppid) or self._met(ppid, at_ns)
        before = self._living.pop(pid, None)
        before_ns = self._free_ns(pid) if before is None else at_ns
        self._keep(pid, _Life(parent.who, ppid, parent.who.process if parent.who else "", before_ns))

    def _end(self, pid: int, at_ns: int) -> None:
        life = self._living.pop(pid, None) or _Life(None, 0, "", self._free_ns(pid))
        life.ended_ns = at_ns
        self._ended[pid] = life
        if len(self._ended) > MAX_ENDED:
            oldest = self._ended.pop(next(iter(self._ended)))
            self._forgotten_ns = max(self._forgotten_ns, oldest.ended_ns)

    def _alter(self, pid: int, event: ProcessEvent) -> None:
        life = self._living.get(pid)
        if life is None or life.who is None:
            return
        if event.what == UID:
            life.who = msgspec.structs.replace(life.who, uid=event.real, effective_uid=event.last)
        elif event.what == GID:
            life.who = msgspec.structs.replace(life.who, gid=event.real)

    def _become(self, pid: int, at_ns: int) -> None:
        life = self._living.get(pid)
        if life is None:
            self._met(pid, at_ns)
        else:
            life.who = self._glance(pid, at_ns)

    def _met(self, pid: int, at_ns: int) -> _Life:
        """One that began before we listened, or was forgotten."""
        who = self._glance(pid, at_ns)
        life = _Life(who, who.ppid if who else 0, program_of(who.ppid) if who else "", self._free_ns(pid))
        self._keep(pid, life)
        return life

    def _free_ns(self, pid: int) -> int:
        """Until when a number may have had an owner who has ended."""
        before = self._ended.pop(pid, None)
        return self._forgotten_ns if before is None else before.ended_ns

    def _keep(self, pid: int, life: _Life) -> None:
        if len(self._living) >= MAX_LIVING:
            del self._living[next(iter(self._living))]
        self._living[pid] = life

    def _glance(self, pid: int, at_ns: int) -> Who | None:
        second = at_ns // _SECOND_NS
        if second != self._second:
            self._second, self._glances = second, 0
        self._glances += 1
        return self._look(pid, at_ns) if self._glances <= MAX_GLANCES else None
