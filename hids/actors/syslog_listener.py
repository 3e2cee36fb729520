"""SyslogListener: the ports where devices send their syslog.

    devices --UDP, TCP, TLS--> syslog listener --Arrived, ReadUpTo--> syslog intake

State    lines of the last moment, not yet handed on; with UDP nobody could send them again.
Full     connections are read no further; datagrams have to be dropped, are counted, and that is an alert.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from hids.actors.dispatcher import Tell
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.actors.syslog_intake import Arrived, Backlog, ReadUpTo
from hids.core.wire.syslog import to_text
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_UNPACKED, LogLine
from hids.messages.terms import Agent
from hids.ports import Clock, Emit

log = structlog.get_logger()

GATHER_S = 0.02
"""Lines wait so long for others: one sync of the disk is for all of them."""
MAX_WAITING = 8 * MAX_BATCH_LINES
"""Lines held while the intake has no room."""
TELL_S = 10.0


class Ports(Protocol):
    """The open ports (hids.adapters.syslog_ports)."""

    def pause(self) -> None:
        """Read no more from connections."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def facts(self) -> dict[str, int]:
        """Connections and refusals."""
        ...

    def close(self) -> None:
        """Close all."""
        ...


class Gathered(OneLife):
    """timer -> listener: hand on what has come."""


class Count(OneLife):
    """timer -> listener: say what was dropped."""


class SyslogListener(LoopActor):
    """Take messages, write them as lines, hand them on."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_ports: Callable[[Callable[[bytes, str, bool], None]], Ports],
        intake: Mailbox,
        backlog: Backlog,
        manager: Agent,
        clock: Clock,
        emit: Emit[Tell],
    ) -> None:
        super().__init__(mailbox)
        self._intake = intake
        self._backlog = backlog
        self._manager = manager
        self._clock = clock
        self._emit = emit
        self._lines: list[LogLine] = []
        self._size = 0
        self._gathering = False
        self._paused = False
        self._received = self._dropped = self._told = 0
        self._timer: asyncio.TimerHandle | None = None
        self._counting = self.later(TELL_S, Count())
        self._ports = open_ports(self._take)

    def on_receive(self, message: Gathered | Count) -> None:
        """A timer."""
        match message:
            case Gathered():
                self._gathering = False
                self._hand_on()
            case Count():
                self._tell()
                self._hand_on()
                if not self._lines and self._has_room():
                    self._intake.tell(ReadUpTo(self._clock.now_ms()))
                self._counting = self.later(TELL_S, Count())

    def on_shutdown(self) -> None:
        """Hand on what has come."""
        self._hand_on()
        self.stop()

    def closing(self) -> None:
        """Close the ports."""
        self._counting.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._ports.close()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"received": self._received, "dropped": self._dropped, **self._ports.facts()}

    def _take(self, message: bytes, address: str, can_wait: bool) -> None:  # noqa: FBT001 - a fact of the port
        """One message of a device; `can_wait` tells whether its port can be told to wait."""
        if len(self._lines) >= MAX_WAITING and not can_wait:
            self._dropped += 1
            return
        now_ms = self._clock.now_ms()
        text = to_text(message, now_ms)
        if not text.strip():
            return
        self._received += 1
        self._lines.append(LogLine(location=address, text=text, at_ms=now_ms, read_ms=now_ms))
        self._size += len(text)
        if len(self._lines) >= MAX_BATCH_LINES or self._size >= MAX_BATCH_UNPACKED // 2:
            self._hand_on()
        elif not self._gathering:
            self._gather()

    def _gather(self) -> None:
        self._gathering = True
        self._timer = self.later(GATHER_S, Gathered())

    def _hand_on(self) -> None:
        if self._lines and self._has_room():
            self._intake.tell(Arrived(tuple(self._lines)))
            self._lines, self._size = [], 0
        if self._lines and not self._gathering:
            self._gather()
        if self._lines and not self._paused:
            self._paused = True
            self._ports.pause()
        elif not self._lines and self._paused:
            self._paused = False
            self._ports.resume()

    def _has_room(self) -> bool:
        return self._intake.depth < self._intake.bound - 1 and self._backlog.lines < MAX_WAITING

    def _tell(self) -> None:
        dropped, self._told = self._dropped - self._told, self._dropped
        if dropped:
            log.error("syslog datagrams dropped", count=dropped)
            self._emit(
                Tell(self._manager, f"lines dropped: {dropped} datagrams of syslog came faster than the disk takes")
            )
