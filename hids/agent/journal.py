"""Journal: what systemd's journal holds, through `journalctl -o export --follow`.

    journalctl --export format--> journal --Append--> spool

State    none that a restart loses: the cursor is stored with the lines.
Full     journalctl's pipe fills and it waits; the journal keeps the entries.
No journal, no access: said once, with the group to join; tried again every RETRY_S.
"""

import asyncio
import contextlib
import datetime as dt
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import structlog
from msgspec import structs

from hids.actors.stage import Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.config import SourceConfig
from hids.agent.machine import host_address, host_name, system_id
from hids.agent.spooler import Recall
from hids.core.collect.formats import compiled
from hids.core.collect.shape import Place
from hids.core.wire.export import Entry, ExportReader
from hids.errors import RemoteProtocolError
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES, LogLine
from hids.ports import Clock

log = structlog.get_logger()

LOCATION = "journald"
CURSOR_KEY = "journal:cursor"
RETRY_S = 300.0
READ_BYTES = 64 * 1024
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 60.0
HEALTHY_S = 60.0
"""A journalctl that ran this long failed for a reason of its own: the pauses start over."""
FAREWELL_S = 2.0
_YEAR_9999_US = 253_370_764_800_000_000
_GROUPS = "add the agent's user to the group systemd-journal (or adm)"
_OUR_UNITS = (b"hids-agent.service", b"hids-manager.service")
_WORD = frozenset(range(0x21, 0x100)) - frozenset(b":[]\x7f")
"""Bytes that a header field may have."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class JournalReader(Collector):
    """Follow the journal from the saved cursor on."""

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
        self._cursor = b""
        self._first_time = True
        self._trouble = ""
        self._limited = False
        self._process: asyncio.subprocess.Process | None = None
        self._filter = Filter(config.filter)
        self._shape = config.shape
        self._place = Place(LOCATION, host_name(), host_address())

    def closing(self) -> None:
        """End journalctl."""
        super().closing()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def run(self) -> None:
        """Keep a journalctl running."""
        saved: dict[str, bytes] = await self._spool.request(Recall(CURSOR_KEY))
        self._cursor = saved.get(CURSOR_KEY, b"")
        self._first_time = CURSOR_KEY not in saved
        pause_s = FIRST_PAUSE_S
        while True:
            program = shutil.which("journalctl")
            if program is None:
                self._in_trouble("journalctl is not installed; remove this source from agent.toml")
                await asyncio.sleep(RETRY_S)
                continue
            began_s = self._clock.monotonic_s()
            problem = await self._follow(program)
            if problem:
                self._in_trouble(problem)
            if self._clock.monotonic_s() - began_s > HEALTHY_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def _arguments(self) -> list[str]:
        arguments = ["--output=export", "--follow", *_of_all_boots()]
        if self._cursor:
            return [*arguments, "--no-tail", f"--after-cursor={self._cursor.decode('ascii', 'replace')}"]
        if self._first_time and self._config.from_ == "end":
            return [*arguments, "--lines=0"]
        return [*arguments, "--no-tail"]

    async def _follow(self, program: str) -> str:
        """Read until journalctl ends; returns why, in words for a person."""
        process = await asyncio.create_subprocess_exec(
            program,
            *self._arguments(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=READ_BYTES,
        )
        self._process = process
        if not self._trouble:
            self._state.state = "reading"
        assert process.stdout is not None  # noqa: S101 - piped above
        assert process.stderr is not None  # noqa: S101
        complaint = asyncio.create_task(self._listen(process.stderr))
        try:
            await self._read(process.stdout)
            async with asyncio.timeout(FAREWELL_S):
                return await complaint or f"journalctl ended with status {await process.wait()}"
        except (RemoteProtocolError, TimeoutError) as error:
            return str(error) or "journalctl closed its output, but did not end"
        finally:
            await _end(process, complaint)

    async def _listen(self, stderr: asyncio.StreamReader) -> str:
        """Hear what journalctl complains about; returns its last complaint, in words for a person."""
        words = b""
        while data := await stderr.read(4096):
            words = (words + data)[-4096:]
            if b"not seeing messages" in words and not self._limited:
                self._limited = True
                log.warning("the journal can be read in part only", to_do=_GROUPS)
        return _in_words(words.decode("utf-8", "replace").strip())

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        reader = ExportReader()
        while True:
            self._state.idle = True
            data = await stdout.read(READ_BYTES)
            if not data:
                return
            self._state.idle = False
            entries = iter(reader.feed(data))
            while group := tuple(islice(entries, MAX_BATCH_LINES)):
                await self._put_entries(group)
            await self.all_stored()

    async def _put_entries(self, entries: Sequence[Entry]) -> None:
        if self._trouble:
            log.info("source readable again", source=LOCATION)
            self._trouble = ""
        self._state.state = "reading"
        now_ms = self._clock.now_ms()
        lines = tuple(line for entry in entries if (line := self._line(entry, now_ms)) is not None)
        self._cursor = entries[-1].get(b"__CURSOR", self._cursor)
        await self.put(lines, {CURSOR_KEY: self._cursor})

    def _line(self, entry: Entry, now_ms: int) -> LogLine | None:
        if is_ours(entry):
            return None
        line = to_line(entry, now_ms) if self._filter.takes(entry) else None
        if line is None or self._shape.is_plain:
            self._state.skipped += line is None
            return line
        text = self._shape.apply(line.text, self._place, line.at_ms)
        self._state.skipped += text is None
        return None if text is None else structs.replace(line, text=text[:MAX_LINE_BYTES])

    def _in_trouble(self, problem: str) -> None:
        self._state.state = f"unreadable: {problem}"
        self._state.idle = False
        if problem != self._trouble:
            self._trouble = problem
            log.warning("source unreadable", source=LOCATION, reason=problem)
            self._say(f"source unreadable: {LOCATION}: {problem}")


class Filter:
    """Takes an entry when all fields of one table match; without tables all entries. A field that is missing matches nothing."""

    def __init__(self, tables: Sequence[Mapping[str, str]]) -> None:
        self._tables = tuple(
            tuple((field.encode(), compiled(pattern)) for field, pattern in table.items()) for table in tables
        )

    def takes(self, entry: Entry) -> bool:
        """Tell whether the entry goes on."""
        return not self._tables or any(
            all(field in entry and pattern.search(entry[field]) for field, pattern in table) for table in self._tables
        )


def is_ours(entry: Entry) -> bool:
    """Tell whether we wrote it ourselves: nobody shall read back his own log.

    Fields that begin with `_` are journald's word, so nobody else can hide behind them.
    """
    return entry.get(b"_SYSTEMD_UNIT") in _OUR_UNITS or entry.get(b"_PID") == b"%d" % os.getpid()


def to_line(entry: Entry, now_ms: int, zone: dt.tzinfo | None = None) -> LogLine | None:
    """Write an entry as a syslog line, so that the same rules match; None for one without a message.

    Args:
        entry: fields of the journal.
        now_ms: when it was read.
        zone: of the header; None is this machine's.
    """
    message = entry.get(b"MESSAGE")
    if not message:
        return None
    at_ms = _number(entry.get(b"__REALTIME_TIMESTAMP", b""), now_ms * 1000) // 1000
    at = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).astimezone(zone)
    program = _word(entry.get(b"SYSLOG_IDENTIFIER") or entry.get(b"_COMM") or b"unknown")
    pid = _word(entry.get(b"SYSLOG_PID") or entry.get(b"_PID") or b"")
    head = b"%s %2d %s %s %s" % (
        _MONTHS[at.month - 1].encode(),
        at.day,
        at.strftime("%H:%M:%S").encode(),
        _word(entry.get(b"_HOSTNAME") or b"localhost"),
        program + (b"[%s]" % pid if pid else b""),
    )
    text = head + b": " + b" ".join(message.split(b"\n"))
    return LogLine(location=LOCATION, text=text[:MAX_LINE_BYTES], at_ms=at_ms, read_ms=now_ms)


def _number(digits: bytes, default: int) -> int:
    """Microseconds since the epoch, within what a date can hold."""
    number = int(digits) if digits.isdigit() and len(digits) <= len(str(_YEAR_9999_US)) else default
    return number if number < _YEAR_9999_US else default


def _word(value: bytes) -> bytes:
    """A header field as one word: whoever writes to the journal chooses its identifier, and must not forge a header."""
    return bytes(byte if byte in _WORD else 0x5F for byte in value[:128])


async def _end(process: asyncio.subprocess.Process, complaint: "asyncio.Task[str]") -> None:
    """Kill journalctl if it still runs, and read its pipes to their end, so that they are closed."""
    complaint.cancel()
    await asyncio.gather(complaint, return_exceptions=True)
    if process.returncode is None:
        process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await process.communicate()


def _of_all_boots() -> Sequence[str]:
    """Ask for what this machine wrote, in whichever boot.

    With --follow journalctl leaves out all that was written before the last boot, hence what it was not asked for in time.
    With --merge it does not, but shows the journals of other machines, too, which may lie here: containers', and those that
    were sent.
    """
    own = system_id()
    return ("--merge", f"_MACHINE_ID={own}") if own else ()


def _in_words(complaint: str) -> str:
    lower = complaint.lower()
    if "permission" in lower or "not seeing messages" in lower:
        return f"no access to the system's journal; {_GROUPS}"
    if "no journal files" in lower:
        return f"there is no journal on this machine, or no access; {_GROUPS}"
    return complaint.splitlines()[-1][:200] if complaint else ""
