"""Policy: whether this host is set up as its policies say, looked at every so often; what is news is told.

    policy files -> policy scanner (a process each, policyscan.py) --Report--> policy --Append--> spool

State    none that a restart loses: the result of every check is a position in the spool, stored with its line.
Bounds   a policy may take `limit_s`, a command in it `timeout_s`; whatever hangs is ended with its process.
Trust    only files of this host's own that nobody but root and the agent may write: policies run commands.
Fails    a policy that cannot be used is said once; what was told of it before stays.
"""

import asyncio
import contextlib
import glob
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from hids.actors.stage import Control, Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.config import PolicyConfig
from hids.agent.spooler import Recall
from hids.core.policy.lines import (
    LOCATION,
    Checked,
    Report,
    check_line,
    policies_line,
    scanned_line,
    summary_line,
)
from hids.messages.lines import MAX_LINE_BYTES, LogLine
from hids.ports import Clock

log = structlog.get_logger()

MAX_POLICIES = 64
MAX_REPORT = 64 * 1024 * 1024
"""Bytes that a scanner may print; a policy of 482 checks gives 2 MiB."""
GRACE_S = 5.0
"""A scanner ends itself at its limit; so long after it is ended."""
LINES_AT_ONCE = 64
"""In one append: a check's line has some KiB."""
_SCANNED = "policies scanned"
_TOLD, _RESULT = "policy told\x1f", "policy result\x1f"
"""Begin the positions of policies as a whole, and of their checks."""

_report = msgspec.msgpack.Decoder(Report)


class ScanPolicies(Control):
    """agent -> policy: a person has changed files, do not wait for the next scan."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What the manager has been told of a policy as a whole."""

    path: str
    summary: str
    """What its last summary said, as far as it can change."""


class PolicyWatch(Collector):
    """Have the policies evaluated, and tell what is news."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: PolicyConfig,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(mailbox, spool, state)
        self._config = config
        self._clock = clock
        self._say = say
        self._stir = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._problems: dict[str, str] = {}
        """Path -> what was said of it."""

    def on_receive(self, message: Any) -> None:
        """Scan when told to."""
        match message:
            case ScanPolicies():
                self._stir.set()
            case _:
                super().on_receive(message)

    def closing(self) -> None:
        """End the scanner."""
        super().closing()
        if self._process is not None:
            _signal(self._process, signal.SIGTERM)

    async def run(self) -> None:
        """Scan, wait, and again."""
        saved: dict[str, bytes] = await self._spool.request(Recall(_SCANNED))
        last_ms = 0 if self._config.scan_on_start else int(saved.get(_SCANNED, b"0"))
        while True:
            await self._wait(last_ms)
            last_ms = self._clock.now_ms()
            await self._scan_all()
            await self.put((), {_SCANNED: str(last_ms).encode()})
            await self.all_stored()

    async def _wait(self, last_ms: int) -> None:
        """Until it is time; a clock that went back does not put it off for longer than usual."""
        due_s = (last_ms - self._clock.now_ms()) / 1000 + self._config.scan_interval_s
        if due_s <= 0:
            return
        self._state.state = "waiting for the next scan"
        self._state.idle = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(due_s, self._config.scan_interval_s)):
                await self._stir.wait()
        self._stir.clear()
        self._state.idle = False

    # -- all policies

    async def _scan_all(self) -> None:
        before = await self._told()
        there: dict[str, str] = {}
        """Policy -> its file."""
        for path in self._files():
            self._state.state = f"scanning {path}"
            report = await self._scan(path)
            other = there.get(report.policy_id)
            problem = report.problem or (f"its id {report.policy_id} is that of {other}" if other is not None else "")
            self._note(path, problem)
            if problem:
                there |= {policy: path for policy, told in before.items() if told.path == path and policy not in there}
            elif report.applies:
                there[report.policy_id] = path
                await self._tell(path, report, before.get(report.policy_id))
        await self._forget(before.keys() - there.keys(), there)

    def _files(self) -> list[str]:
        """The files that the configuration names, each once."""
        paths: dict[str, None] = {}
        for pattern in self._config.files:
            found = sorted(glob.glob(pattern))
            if not found:
                self._note(pattern, "no such file")
            paths |= dict.fromkeys(found)
        files = list(paths)
        if len(files) > MAX_POLICIES:
            self._note(files[MAX_POLICIES], f"more than {MAX_POLICIES} policies; the rest is left out")
        return files[:MAX_POLICIES]

    async def _told(self) -> dict[str, Told]:
        saved: dict[str, bytes] = await self._spool.request(Recall(_TOLD))
        return {key.removeprefix(_TOLD): msgspec.msgpack.decode(value, type=Told) for key, value in saved.items()}

    async def _forget(self, policies: set[str], left: dict[str, str]) -> None:
        """Tell that policies are no longer looked at."""
        if not policies:
            return
        gone: dict[str, bytes | None] = {}
        for policy in policies:
            saved: dict[str, bytes] = await self._spool.request(Recall(_key(policy)))
            gone |= dict.fromkeys((_TOLD + policy, *saved))
        await self.put((self._line(policies_line(left)),), gone)

    # -- one policy

    async def _scan(self, path: str) -> Report:
        """Have a policy evaluated; whatever goes wrong is the report's problem."""
        config = self._config
        options = [f"--parent={os.getpid()}", f"--timeout={config.timeout_s:g}", f"--limit={config.limit_s:g}"]
        options += ["--no-commands"] * (not config.commands) + ["--network"] * (not config.skip_network)
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hids.agent.policyscan", *options, path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(config.limit_s + GRACE_S):
                return await _read_report(process, config.limit_s)
        except TimeoutError:
            return Report(problem=f"took more than {config.limit_s:g} s")
        finally:
            await _end(process)
            self._process = None

    async def _tell(self, path: str, report: Report, told: Told | None) -> None:
        """Store what is news, each line together with the result that it tells."""
        known: dict[str, bytes] = await self._spool.request(Recall(_key(report.policy_id)))
        scan_id = report.began_ms // 1000
        lines: list[LogLine] = []
        positions: dict[str, bytes | None] = {}
        for one in report.checked:
            key, value = _key(report.policy_id, one.id), _value(one)
            before = known.pop(key, None)
            if before == value:
                continue
            previous = "" if before is None else before.decode().partition(":")[2]
            lines.append(self._line(check_line(one, scan_id, previous)))
            positions[key] = value
            if len(lines) == LINES_AT_ONCE:
                await self.put(tuple(lines), positions)
                lines, positions = [], {}
        positions |= dict.fromkeys(known)  # checks that the policy no longer has
        now = Told(path, _summary(report))
        if told == now:
            lines.append(self._line(scanned_line(report)))
        else:
            lines.append(self._line(summary_line(report, scan_id, first=told is None)))
            positions[_TOLD + report.policy_id] = msgspec.msgpack.encode(now)
        await self.put(tuple(lines), positions)

    def _line(self, text: bytes) -> LogLine:
        now_ms = self._clock.now_ms()
        return LogLine(location=LOCATION, text=text[:MAX_LINE_BYTES], at_ms=now_ms, read_ms=now_ms, kind="sca")

    def _note(self, path: str, problem: str) -> None:
        """Say what is wrong with a policy, once."""
        if problem and self._problems.get(path) != problem:
            log.warning("policy unusable", policy=path, reason=problem)
            self._say(f"policy unusable: {problem if problem.startswith(path) else f'{path}: {problem}'}")
        if problem:
            self._problems[path] = problem
        else:
            self._problems.pop(path, None)


def _key(policy: str, check: int | None = None) -> str:
    """Position of a check; without one, what the positions of all the policy's checks begin with."""
    return f"{_RESULT}{policy}\x1f{'' if check is None else check}"


def _value(one: Checked) -> bytes:
    return f"{one.digest}:{one.result}".encode()


def _summary(report: Report) -> str:
    """Changes when a summary would say something else."""
    return f"{report.hash_file}:{','.join(f'{one.id}={one.result[0]}' for one in report.checked)}"


async def _read_report(process: asyncio.subprocess.Process, limit_s: float) -> Report:
    assert process.stdout is not None  # noqa: S101 - piped by the caller
    output = bytearray()
    while data := await process.stdout.read(1024 * 1024):
        output += data
        if len(output) > MAX_REPORT:
            return Report(problem=f"has more than {MAX_REPORT} bytes of results")
    status = await process.wait()
    if status == 128 + signal.SIGALRM:
        return Report(problem=f"took more than {limit_s:g} s")
    try:
        return _report.decode(output)
    except msgspec.MsgspecError:
        return Report(problem=f"the process that looks at it ended with status {status}; its log is the agent's")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a scanner that has not ended: first let it end the command that it runs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            _signal(process, number)
            with contextlib.suppress(TimeoutError):  # what waits for a dead disk ends when that answers
                async with asyncio.timeout(1.0):
                    await process.communicate()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
