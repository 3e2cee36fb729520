"""Command: what a program prints, every so often, as `command` and `full_command` of OSSEC's logcollector.

    program --stdout--> command --Append--> spool

State    none that a restart loses: when it ran last is stored with the lines, so a daily command stays daily.
Shell    none: the words of the configuration are the program and its arguments.
Bounds   a run ends after `timeout_s`, with all its processes; of what it prints MAX_OUTPUT bytes are taken.
Fails    what cannot be run, or ends by a signal, is said once, as a warning and as a line of the agent.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

import structlog

from hids.actors.stage import Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.machine import host_address, host_name
from hids.agent.spooler import Recall
from hids.core.collect.shape import Place, output_front
from hids.core.collect.source import SourceConfig
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES, LogLine
from hids.ports import Clock

log = structlog.get_logger()

MAX_OUTPUT = 1024 * 1024
"""Bytes of one run."""


class CommandRunner(Collector):
    """Run one program at its times."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: SourceConfig,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(mailbox, spool, state)
        self._config = config
        self._clock = clock
        self._say = say
        self._label = config.alias or config.command
        self._key = f"command:{self._label}"
        self._shape = config.shape
        self._place = Place(self._label, host_name(), host_address())
        self._trouble = ""
        self._process: asyncio.subprocess.Process | None = None

    def closing(self) -> None:
        """End the program."""
        super().closing()
        if self._process is not None:
            _kill(self._process)

    async def run(self) -> None:
        """Run it, wait, and again."""
        saved: dict[str, bytes] = await self._spool.request(Recall(self._key))
        last_ms = int(saved.get(self._key, b"0"))
        while True:
            self._state.idle = True
            await asyncio.sleep(self._wait_s(last_ms))
            self._state.idle = False
            last_ms = self._clock.now_ms()
            output = await self._output()
            await self._put_output(output, last_ms)
            await self.all_stored()

    def _wait_s(self, last_ms: int) -> float:
        """Seconds to the next run; a clock that went back does not put it off for longer than usual."""
        due_s = (last_ms - self._clock.now_ms()) / 1000 + self._config.frequency_s
        return min(max(0.0, due_s), self._config.frequency_s)

    async def _output(self) -> bytes:
        """What one run prints; nothing when it cannot be run."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._config.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # so that what it starts ends with it
            )
        except (OSError, ValueError) as error:
            self._in_trouble(f"cannot be run: {getattr(error, 'strerror', None) or error}")
            return b""
        process = self._process
        assert process.stdout is not None  # noqa: S101 - piped above
        output, problem = bytearray(), ""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                while data := await process.stdout.read(65_536):
                    output += data
                    if len(output) > MAX_OUTPUT:
                        problem = f"printed more than {MAX_OUTPUT} bytes, the rest is left out"
                        break
                else:
                    await process.wait()
        except TimeoutError:
            problem = f"was ended after {self._config.timeout_s} s; what it had printed is taken"
        finally:
            _kill(process)
        await _drained(process)
        if not problem and process.returncode is not None and process.returncode < 0:
            problem = f"was ended by {signal.Signals(-process.returncode).name}"
        self._in_trouble(problem)
        return bytes(output[:MAX_OUTPUT])

    async def _put_output(self, output: bytes, at_ms: int) -> None:
        """Write the output as OSSEC does, so that its rules match."""
        front = output_front(self._label)
        if self._config.format == "full_command":
            body = output.rstrip(b"\r\n\0 ")
            texts = [b"%s\n%s" % (front, body)] if body else []
        else:
            rows = (row.rstrip(b"\r\0 ") for row in output.split(b"\n"))
            texts = [b"%s %s" % (front, row) for row in rows if row]
        taken = (self._shape.apply(text, self._place, at_ms) for text in texts)
        lines = [
            LogLine(location=self._label, text=text[:MAX_LINE_BYTES], at_ms=at_ms, read_ms=at_ms)
            for text in taken
            if text is not None
        ]
        self._state.skipped += len(texts) - len(lines)
        for start in range(0, max(1, len(lines)), MAX_BATCH_LINES):
            last = start + MAX_BATCH_LINES >= len(lines)
            positions: dict[str, bytes | None] = {self._key: str(at_ms).encode()} if last else {}
            await self.put(tuple(lines[start : start + MAX_BATCH_LINES]), positions)

    def _in_trouble(self, problem: str) -> None:
        self._state.state = problem or "reading"
        if problem and problem != self._trouble:
            log.warning("command in trouble", command=self._label, reason=problem)
            self._say(f"source unreadable: {self._label}: {problem}")
        self._trouble = problem


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a program and what it started; its group has its number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Close its pipe; somebody else may hold the other end, and need not be waited for."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await process.communicate()
