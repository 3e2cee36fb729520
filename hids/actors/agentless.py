"""Agentless: looks at one host over SSH every so often, and makes a line of what has changed there.

    timer --Due--> agentless --ssh--> host;   agentless --Arrived--> syslog intake

State    what the host showed last, in a file, written after the line that tells of the change is handed on: a crash between
         the two tells it twice, never not at all.
Fails    a host that cannot be looked at is said once, until it can be again.
"""

import asyncio
import difflib
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import structlog

from hids.actors.dispatcher import Tell
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.actors.syslog_intake import Arrived
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES, LogLine
from hids.messages.terms import Agent
from hids.ports import Clock, Emit

log = structlog.get_logger()

FIRST_S = 5.0
"""From the start to the first look; a frequency counts from there."""
MAX_ROWS = 100_000


class Check(NamedTuple):
    """What is looked at."""

    name: str
    """As alerts know it: "(ssh_generic_diff) root@fw1->agentless"."""
    kind: Literal["diff", "command"]
    label: str
    """The command, for alerts."""
    frequency_s: float


class Due(OneLife):
    """timer -> agentless."""


class Looked(OneLife):
    """ssh -> agentless: what the host showed."""

    def __init__(self, text: bytes, problem: str) -> None:
        self.text = text
        self.problem = problem


class Agentless(LoopActor):
    """One check of one host."""

    def __init__(
        self,
        mailbox: Mailbox,
        check: Check,
        look: Callable[[], Awaitable[tuple[bytes, str]]],
        baseline: Callable[[], bytes | None],
        keep: Callable[[bytes], None],
        intake: Mailbox,
        manager: Agent,
        clock: Clock,
        emit: Emit[Tell],
    ) -> None:
        """A check.

        Args:
            mailbox: its own.
            check: what.
            look: runs the command: (output, problem).
            baseline: what the host showed last; None: nothing yet.
            keep: notes what it shows now, durably.
            intake: takes lines.
            manager: whose lines they are.
            clock: time.
            emit: tells of what fails.
        """
        super().__init__(mailbox)
        self._check = check
        self._look = look
        self._baseline = baseline
        self._keep = keep
        self._intake = intake
        self._manager = manager
        self._clock = clock
        self._emit = emit
        self._problem = ""
        self._looks = self._changes = 0
        self._task: asyncio.Task[None] | None = None
        self._timer = self.later(FIRST_S, Due())

    def on_receive(self, message: Due | Looked) -> None:
        """Look, or tell what was seen."""
        match message:
            case Due():
                self._timer = self.later(self._check.frequency_s, Due())
                if self._task is None:
                    self._task = self.loop.create_task(self._run())
            case Looked():
                self._task = None
                self._looks += 1
                self._note(message)

    def closing(self) -> None:
        """End the run."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def facts(self) -> dict[str, int | str]:
        """Figures for `hidsctl status`."""
        return {"looks": self._looks, "changes": self._changes, "problem": self._problem}

    async def _run(self) -> None:
        text, problem = await self._look()
        self.remind(Looked(text, problem))

    def _note(self, looked: Looked) -> None:
        if looked.problem:
            if looked.problem != self._problem:
                log.warning("agentless check failed", check=self._check.name, reason=looked.problem)
                self._emit(Tell(self._manager, f"agentless failed: {self._check.name}: {looked.problem}"))
            self._problem = looked.problem
            return
        self._problem = ""
        if self._check.kind == "command":
            self._tell([b"ossec: output: '%s': %s" % (self._check.label.encode(), row) for row in _rows(looked.text)])
            return
        before = self._baseline()
        if before == looked.text:
            return
        if before is not None:
            self._changes += 1
            self._tell([b"ossec: agentless: Change detected:\n" + difference(before, looked.text)])
        self._keep(looked.text)

    def _tell(self, texts: list[bytes]) -> None:
        now_ms = self._clock.now_ms()
        lines = [LogLine(self._check.name, text[:MAX_LINE_BYTES], now_ms, now_ms) for text in texts]
        for start in range(0, len(lines), MAX_BATCH_LINES):
            self._intake.tell(Arrived(tuple(lines[start : start + MAX_BATCH_LINES])))


def difference(before: bytes, after: bytes) -> bytes:
    """Tell what has changed, as diff does: "< " was there, "> " is there now."""
    old, new = _rows(before), _rows(after)
    lines: list[bytes] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False) if len(old) * len(new) < MAX_ROWS else None
    if matcher is None:  # too much to align: what is in one and not in the other
        gone, come = set(old) - set(new), set(new) - set(old)
        lines = [b"< " + row for row in old if row in gone] + [b"> " + row for row in new if row in come]
    else:
        for kind, i1, i2, j1, j2 in matcher.get_opcodes():
            if kind != "equal":
                lines += [b"< " + row for row in old[i1:i2]] + [b"> " + row for row in new[j1:j2]]
    return b"\n".join(lines or [b"(only the order of lines)"])


def _rows(text: bytes) -> list[bytes]:
    return [row.rstrip(b"\r") for row in text.split(b"\n") if row.strip()]
