"""Policy: whether this host is set up as its policies say, looked at every so often; what is news is told.

    policy files, or the manager's -> policy scanner (a process each, policyscan.py) --Report--> policy --Append--> spool

State    none that a restart loses: the result of every check is a position in the spool, stored with its line.
Bounds   a policy may take `limit_s`, a command in it `timeout_s`; whatever hangs is ended with its process.
Trust    files of this host's own that nobody but root and the agent may write: policies run commands. What the manager sent runs
         them when it is signed and this host allows it (shared.py); where it has the id of an own one, the own one counts.
Fails    a policy that cannot be used is said once; what was told of it before stays.
"""

import asyncio
import contextlib
import datetime
import fnmatch
import glob
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from hids.actors.stage import Control, Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.config import PolicyConfig
from hids.agent.shared import SentPolicies
from hids.agent.spooler import Recall
from hids.core.collect.policy import next_look
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
LOOK_S = 3_600.0
"""Who waits looks at the clock so often: it may be set."""
_SCANNED = "policies scanned"
_TOLD, _RESULT = "policy told\x1f", "policy result\x1f"
"""Begin the positions of policies as a whole, and of their checks."""

_report = msgspec.msgpack.Decoder(Report)


class ScanPolicies(Control):
    """agent -> policy: a person has changed files, do not wait for the next scan."""


class Policy(NamedTuple):
    """One policy that is to be looked at."""

    place: str
    """Its path, or what it is called among those that the manager sent."""
    origin: str
    """Where it comes from, for people."""
    packed: bytes | None = None
    """What was sent; None: it is in the file."""
    refusal: str = ""
    """Why its commands are not run; empty: they are."""


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
        sent: SentPolicies,
        hives: Sequence[tuple[str, str]],
        mark: Path,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        """Look at policies.

        Args:
            mailbox: as for all collectors, with the next two.
            spool: where lines go.
            state: what is shown of it.
            config: which policies, and when.
            sent: the manager's policies.
            hives: hive files for rules about Windows' registry, with what their roots are called.
            mark: a file that is there while the manager has been told of policies: even without any it must hear that they are gone.
            clock: time.
            say: puts a line of the agent itself into the spool.
        """
        super().__init__(mailbox, spool, state)
        self._config = config
        self._sent = sent
        self._hives = hives
        self._mark = mark
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
        last_ms = int(saved.get(_SCANNED, b"0"))
        has_any = bool(self._config.files or self._sent.policies)
        if self._config.scan_on_start or not has_any:
            self._stir.set()
        with contextlib.suppress(OSError):  # on a full disk nothing can be told either
            self._mark.touch(0o600)
        while True:
            await self._wait(last_ms)
            last_ms = self._clock.now_ms()
            await self._scan_all()
            await self.put((), {_SCANNED: str(last_ms).encode()})
            await self.all_stored()
            if not has_any:
                self._mark.unlink(missing_ok=True)

    async def _wait(self, last_ms: int) -> None:
        """Until a look is due, or wanted."""
        self._state.state = "waiting for the next scan"
        seen_ms = now_ms = self._clock.now_ms()
        due_ms = self._due_ms(last_ms, now_ms)
        while now_ms < due_ms and not self._stir.is_set():
            self._state.idle = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min((due_ms - now_ms) / 1000, LOOK_S)):
                    await self._stir.wait()
            now_ms = self._clock.now_ms()
            if now_ms < seen_ms:
                due_ms = self._due_ms(last_ms, now_ms)
            seen_ms = now_ms
        self._stir.clear()
        self._state.idle = False

    def _due_ms(self, last_ms: int, now_ms: int) -> int:
        """When the look after one at `last_ms` is due."""
        return int(next_look(self._config, _local(last_ms), _local(now_ms)).timestamp() * 1000)

    # -- all policies

    async def _scan_all(self) -> None:
        before = await self._told()
        there: dict[str, str] = {}
        """Policy -> its file."""
        own = self._files()
        places = {policy.place for policy in own}
        for policy in (*own, *self._sent_ones()):
            place = policy.place
            self._state.state = f"scanning {place}"
            report = await self._scan(policy)
            other = there.get(report.policy_id)
            if other in places and policy.packed is not None:
                self._note(place, "")
                continue  # the host's own counts
            problem = report.problem or (f"its id {report.policy_id} is that of {other}" if other is not None else "")
            self._note(place, problem)
            if problem:
                there |= {key: place for key, told in before.items() if told.path == place and key not in there}
            elif report.applies:
                there[report.policy_id] = place
                await self._tell(policy, report, before.get(report.policy_id))
        await self._forget(before.keys() - there.keys(), there)

    def _files(self) -> list[Policy]:
        """The files that the configuration names, each once."""
        paths: dict[str, None] = {}
        for pattern in self._config.files:
            found = sorted(glob.glob(pattern))
            if not found:
                self._note(pattern, "no such file")
            paths |= dict.fromkeys(found)
        files = [path for path in paths if not any(fnmatch.fnmatchcase(path, each) for each in self._config.ignore)]
        if len(files) > MAX_POLICIES:
            self._note(files[MAX_POLICIES], f"more than {MAX_POLICIES} policies; the rest is left out")
        refusal = "" if self._config.commands else _NO_COMMANDS
        return [Policy(path, path, refusal=refusal) for path in files[:MAX_POLICIES]]

    def _sent_ones(self) -> list[Policy]:
        sent = self._sent
        refusal = sent.refusal if self._config.commands else _NO_COMMANDS
        return [
            Policy(f"{each.file} ({sent.origin})", sent.origin, each.packed, refusal)
            for each in sent.policies[:MAX_POLICIES]
        ]

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

    async def _scan(self, policy: Policy) -> Report:
        """Have a policy evaluated; whatever goes wrong is the report's problem."""
        limit_s = self._config.limit_s
        is_sent = policy.packed is not None
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hids.agent.policyscan", *self._options(policy)),
            stdin=asyncio.subprocess.PIPE if is_sent else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(limit_s + GRACE_S):
                await _write(process, policy.packed)
                return await _read_report(process, limit_s)
        except TimeoutError:
            return Report(problem=f"took more than {limit_s:g} s")
        finally:
            await _end(process)
            self._process = None

    def _options(self, policy: Policy) -> list[str]:
        config = self._config
        options = [f"--parent={os.getpid()}", f"--timeout={config.timeout_s:g}", f"--limit={config.limit_s:g}"]
        options += [f"--no-commands={policy.refusal}"] if policy.refusal else []
        options += ["--network"] * (not config.skip_network) + ["--sent"] * (policy.packed is not None)
        for top, file in self._hives:
            options += ["--hive", top, file]
        return [*options, "--", policy.place]

    async def _tell(self, policy: Policy, report: Report, told: Told | None) -> None:
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
        now = Told(policy.place, _summary(report))
        if told == now:
            lines.append(self._line(scanned_line(report)))
        else:
            lines.append(self._line(summary_line(report, scan_id, policy.origin, first=told is None)))
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


_NO_COMMANDS = "this agent runs no commands for policies ([policy] commands = false)"


def _local(at_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_ms / 1000).astimezone()


def _key(policy: str, check: int | None = None) -> str:
    """Position of a check; without one, what the positions of all the policy's checks begin with."""
    return f"{_RESULT}{policy}\x1f{'' if check is None else check}"


def _value(one: Checked) -> bytes:
    return f"{one.digest}:{one.result}".encode()


def _summary(report: Report) -> str:
    """Changes when a summary would say something else."""
    return f"{report.hash_file}:{','.join(f'{one.id}={one.result[0]}' for one in report.checked)}"


async def _write(process: asyncio.subprocess.Process, packed: bytes | None) -> None:
    """Hand a policy over; a process that ended meanwhile says so by its status."""
    if packed is not None:
        assert process.stdin is not None  # noqa: S101 - piped by the caller
        with contextlib.suppress(ConnectionError):
            process.stdin.write(packed)
            await process.stdin.drain()
        process.stdin.close()


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
