"""Rootcheck: looks for what an intruder left behind or hides, and says what is new.

    the host --hids.agent.checks--> its own thread --findings--> rootcheck --Append--> spool

State    none that a restart loses: what was told is a position in the spool, stored with its line, until a scan that came to its end
         did not find it any more. So each finding is told once, and again only when it was gone in between.
Full     the scan waits.
Kind     it rests as long as it works.
Fails    a check that cannot be done is left out and named at the end; what it found before stays as it was.
"""

import asyncio
import datetime
import fnmatch
import hashlib
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec
import psutil
import structlog

from hids.actors.stage import Mailbox
from hids.agent.checks.databases import Databases, load
from hids.agent.checks.files import SETUID
from hids.agent.checks.host import Host, Steps
from hids.agent.checks.plan import Plan, Planned
from hids.agent.collector import Collector, SourceState
from hids.agent.config import RootcheckConfig
from hids.agent.paths import Excluded
from hids.agent.spooler import Recall
from hids.agent.syscheck import ScanNow
from hids.core.collect.rootcheck import RootcheckException
from hids.core.rootcheck.finding import Finding
from hids.core.rootcheck.report import STARTING, endings
from hids.messages.lines import LogLine
from hids.ports import Clock

log = structlog.get_logger()

LOCATION = "rootcheck"
MAX_FINDINGS = 5_000
"""Of one scan. Who makes more has been noticed."""
SLICE_S = 0.05
"""Work in one go before others get a turn."""
_PREFIX = "rootcheck:"
_LAST, _CENSUS = "rootcheck:last", "rootcheck:census"
_FINDING, _SETUID, _EXPIRED = "rootcheck:finding:", "rootcheck:setuid:", "rootcheck:expired:"

T = TypeVar("T")


class Rootcheck(Collector):
    """Scan at its times."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: RootcheckConfig,
        excluded: Excluded,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(mailbox, spool, state)
        self._config = config
        self._excluded = excluded
        self._clock = clock
        self._say = say
        self._thread = ThreadPoolExecutor(1, "rootcheck")
        self._wanted = asyncio.Event()
        self._known: dict[str, Finding] = {}
        self._census: dict[str, str] | None = None
        self._last_ms = 0

    def on_receive(self, message: Any) -> None:
        """Scan when told to."""
        match message:
            case ScanNow():
                self._wanted.set()
            case _:
                super().on_receive(message)

    def closing(self) -> None:
        """Let the thread end after the slice at hand."""
        super().closing()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self) -> None:
        """Scan, wait, and again."""
        self._recall(await self._spool.request(Recall(_PREFIX)))
        if self._config.scan_on_start:
            self._wanted.set()
        while True:
            await self._wait()
            await self._scan()
            await self.all_stored()

    def _recall(self, saved: dict[str, bytes]) -> None:
        self._last_ms = int(saved.get(_LAST, b"0"))
        decoder = msgspec.msgpack.Decoder(Finding)
        self._known = {
            key.removeprefix(_FINDING): decoder.decode(value)
            for key, value in saved.items()
            if key.startswith(_FINDING)
        }
        if saved.get(_CENSUS) == self._config.base_directory.encode():
            self._census = {
                key.removeprefix(_SETUID): value.decode() for key, value in saved.items() if key.startswith(_SETUID)
            }

    async def _wait(self) -> None:
        self._state.state, self._state.idle = "waiting for the next scan", not self._wanted.is_set()
        due_s = (self._last_ms - self._clock.now_ms()) / 1000 + self._config.frequency_s
        try:
            # A clock that went back does not put it off for longer than usual.
            async with asyncio.timeout(min(max(0.0, due_s), self._config.frequency_s)):
                await self._wanted.wait()
        except TimeoutError:
            pass
        self._wanted.clear()
        self._state.idle = False

    # -- one scan

    async def _scan(self) -> None:
        """From the first line to the last."""
        scan = _Scan(self._config.exception, self._clock.now_ms())
        await self.put((self._line(STARTING),), {})
        await self._tell_expired(scan)
        databases, plan = await self._in_thread(self._prepare)
        for problem in databases.problems:
            log.warning("rootcheck: a database has an error", problem=str(problem))
            if not problem.line:
                self._say(f"source unreadable: {problem}")
        for planned in plan.checks():
            self._state.state = f"checking {planned.names[0]}"
            await self._check(scan, planned)
        await self._end(scan, plan)

    def _prepare(self) -> tuple[Databases, Plan]:
        databases = load(self._config)
        return databases, Plan(Host(self._config, self._excluded), databases, self._census)

    async def _check(self, scan: "_Scan", planned: Planned) -> None:
        """Run a check in slices beside the loop, resting in between."""
        done = False
        try:
            while not done:
                began = time.perf_counter()
                findings, done = await self._in_thread(partial(_slice, planned.steps))
                await self._tell(scan, findings)
                await asyncio.sleep(min(time.perf_counter() - began, self._config.max_rest_s))
        except (OSError, psutil.Error) as error:
            scan.unfinished += planned.names
            log.warning("rootcheck: a check could not be done", check=planned.names[0], reason=str(error))

    async def _tell(self, scan: "_Scan", findings: list[Finding]) -> None:
        """Store what is new."""
        news = [finding for finding in findings if scan.takes(finding)]
        lines = tuple(self._line(finding.text.encode()) for finding in news if finding.key not in self._known)
        positions: dict[str, bytes | None] = {
            _FINDING + finding.key: msgspec.msgpack.encode(finding)
            for finding in news
            if self._known.get(finding.key) != finding
        }
        self._known |= {finding.key: finding for finding in news}
        if positions:
            await self.put(lines, positions)

    async def _end(self, scan: "_Scan", plan: Plan) -> None:
        """Say what is there, forget what is not any more."""
        kept = {key: one for key, one in self._known.items() if one.check in scan.unfinished}
        there = kept | scan.seen
        positions: dict[str, bytes | None] = {_FINDING + key: None for key in self._known if key not in there}
        if self._config.check_setuid and SETUID not in scan.unfinished:
            positions |= self._new_census(plan.walk.census)
        self._last_ms = self._clock.now_ms()
        positions[_LAST] = str(self._last_ms).encode()
        texts = sorted(finding.text for finding in there.values())
        await self.put(tuple(map(self._line, endings(texts, scan.excepted, scan.unfinished))), positions)
        self._known = there
        log.info("rootcheck: scan ended", findings=len(there), excepted=scan.excepted, unfinished=scan.unfinished)

    def _new_census(self, census: dict[str, str]) -> dict[str, bytes | None]:
        before = self._census or {}
        self._census = dict(census)
        changes: dict[str, bytes | None] = {_SETUID + path: None for path in before if path not in census}
        changes |= {_SETUID + path: mode.encode() for path, mode in census.items() if before.get(path) != mode}
        return {**changes, _CENSUS: self._config.base_directory.encode()}

    async def _tell_expired(self, scan: "_Scan") -> None:
        """Each exception that has run out is told once."""
        saved: dict[str, bytes] = await self._spool.request(Recall(_EXPIRED))
        for each in self._config.exception:
            key = _EXPIRED + hashlib.sha256(msgspec.msgpack.encode(each)).hexdigest()[:32]
            if not scan.is_valid(each) and key not in saved:
                log.warning("rootcheck: an exception has run out", finding=each.finding, reason=each.reason)
                self._say(f"rootcheck exception expired: {each.until}: {each.finding} ({each.reason})")
                await self.put((), {key: b"\x01"})

    def _line(self, text: bytes) -> LogLine:
        now_ms = self._clock.now_ms()
        return LogLine(location=LOCATION, text=text, at_ms=now_ms, read_ms=now_ms, kind="rootcheck")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self.loop.run_in_executor(self._thread, work)


class _Scan:
    """What one scan has seen so far."""

    def __init__(self, exceptions: Iterable[RootcheckException], now_ms: int) -> None:
        self._today = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC).date()
        self._exceptions = [re.compile(fnmatch.translate(each.finding)) for each in exceptions if self.is_valid(each)]
        self.seen: dict[str, Finding] = {}
        self.excepted = 0
        self.unfinished: list[str] = []

    def is_valid(self, exception: RootcheckException) -> bool:
        """Whether an exception has not run out."""
        return exception.until is None or self._today <= exception.until

    def takes(self, finding: Finding) -> bool:
        """Note a finding; False for one that is left out, was seen before in this scan, or is too much."""
        if any(pattern.match(finding.text) for pattern in self._exceptions):
            self.excepted += 1
            return False
        if finding.key in self.seen or len(self.seen) >= MAX_FINDINGS:
            return False
        self.seen[finding.key] = finding
        return True


def _slice(steps: Steps) -> tuple[list[Finding], bool]:
    """Some work of a check, and whether it is done."""
    end = time.perf_counter() + SLICE_S
    findings: list[Finding] = []
    for step in steps:
        if step is not None:
            findings.append(step)
        if time.perf_counter() > end or len(findings) >= 128:  # noqa: PLR2004 - one append's worth
            return findings, False
    return findings, True
