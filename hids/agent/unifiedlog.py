"""UnifiedLogReader: the unified log of macOS, through `log stream --style ndjson`. Experimental.

    log --JSON lines--> reader --Append--> spool

State    none: the tool has no cursor, so what is logged while the agent is off is not read.
Full     the tool's pipe fills; the system then drops what nobody takes, and says so in the stream.
"""

import asyncio
import contextlib
import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from hids.actors.stage import Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.machine import host_address, host_name
from hids.core.collect.formats import header_time
from hids.core.collect.shape import Place
from hids.core.collect.source import SourceConfig
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES, LogLine
from hids.ports import Clock

LOCATION = "macos"
RETRY_S = 60.0
READ_BYTES = 256 * 1024
MAX_ENTRY = 1024 * 1024


class UnifiedLogReader(Collector):
    """Follow the unified log."""

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
        self._said = ""
        self._shape = config.shape
        self._place = Place(LOCATION, host_name(), host_address())
        self._process: asyncio.subprocess.Process | None = None

    def closing(self) -> None:
        """End the tool."""
        super().closing()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def run(self) -> None:
        """Keep a `log stream` running."""
        while True:
            program = shutil.which("log")
            self._trouble(await self._follow(program) if program else "the tool `log` of macOS is not here")
            self._state.idle = True
            await asyncio.sleep(RETRY_S)

    async def _follow(self, program: str) -> str:
        query = ("--predicate", self._config.query) if self._config.query else ()
        process = await asyncio.create_subprocess_exec(
            program,
            *("stream", "--style", "ndjson", *query),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._process = process
        assert process.stdout is not None  # noqa: S101 - piped above
        rest = b""
        try:
            while True:
                self._state.idle = True
                data = await process.stdout.read(READ_BYTES)
                if not data:
                    return f"`log stream` ended with status {await process.wait()}"
                self._state.idle = False
                *entries, rest = (rest + data).split(b"\n")
                if len(rest) > MAX_ENTRY:
                    return f"`log stream` wrote an entry of more than {MAX_ENTRY} bytes"
                await self._take(entries)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _take(self, entries: Sequence[bytes]) -> None:
        self._state.state = "reading"
        now_ms = self._clock.now_ms()
        lines = [line for entry in entries if (line := to_line(entry, self._place, now_ms)) is not None]
        for start in range(0, len(lines), MAX_BATCH_LINES):
            await self.put(tuple(self._shaped(lines[start : start + MAX_BATCH_LINES])), {})
        await self.all_stored()

    def _shaped(self, lines: Sequence[LogLine]) -> list[LogLine]:
        taken: list[LogLine] = []
        for line in lines:
            text = self._shape.apply(line.text, self._place, line.at_ms)
            if text is None:
                self._state.skipped += 1
            else:
                taken.append(msgspec.structs.replace(line, text=text[:MAX_LINE_BYTES]))
        return taken

    def _trouble(self, problem: str) -> None:
        self._state.state = f"unreadable: {problem}"
        if problem != self._said:
            self._said = problem
            self._say(f"source unreadable: {LOCATION}: {problem}")


def to_line(entry: bytes, place: Place, now_ms: int) -> LogLine | None:
    """Write an entry as a syslog line; None for what is none, such as the tool's own first words."""
    try:
        fields: Any = msgspec.json.decode(entry)
    except (msgspec.DecodeError, RecursionError):
        return None
    said = cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
    if not said.get("eventMessage"):
        return None
    at_ms = _time(str(said.get("timestamp", "")), now_ms)
    program = _word(str(said.get("processImagePath") or "kernel").rpartition("/")[2])
    where = ":".join(str(said[key]) for key in ("subsystem", "category") if said.get(key))
    text = " ".join(str(said["eventMessage"]).splitlines())
    head = header_time(at_ms / 1000) + f" {_word(place.host)} {program}[{said.get('processID', 0)!s:.12}]: ".encode()
    body = (f"({where}) " if where else "") + text
    return LogLine(
        location=LOCATION,
        text=(head + body.encode("utf-8", "backslashreplace"))[:MAX_LINE_BYTES],
        at_ms=at_ms,
        read_ms=now_ms,
    )


def _time(text: str, now_ms: int) -> int:
    try:
        at_ms = int(dt.datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return now_ms
    return at_ms if 0 < at_ms <= now_ms else now_ms


def _word(text: str) -> str:
    """A header field as one word, whatever a program calls itself."""
    return "".join(char if char.isprintable() and char not in " :[]" else "_" for char in text[:128]) or "_"
