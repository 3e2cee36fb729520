"""The archive of events: every batch that was evaluated, in one SQLite file a day.

    archives/2026/Nov/ossec-archive-24.db

A batch is stored as it came (zstd), once: whoever sends it again, after a kill or in a new epoch of the agent, adds nothing.
Rows are chained by SHA-256 as seals are (hids.core.evidence), through all days; the chain's heads are signed.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec

from hids.adapters.evidence.heads import Heads, read_heads
from hids.adapters.evidence.key import is_signed
from hids.adapters.evidence.verify import ARCHIVE, Problem, Verdict, heads_of
from hids.adapters.rotated import MONTHS
from hids.core.eventlog import numbered, span, told
from hids.core.evidence import GENESIS, Head, Why
from hids.core.retention import Limit, gone
from hids.core.wire.lines import unpack
from hids.errors import RemoteProtocolError, StoreError
from hids.messages.evaluation import Job
from hids.messages.terms import Agent
from hids.ports import Clock

STREAM = "archive"

REMEMBERED_DAYS = 8
"""In so many files a batch is looked for: what is not committed is sent again for as long as the lane cannot commit."""

_BUSY_WAIT_S = 5.0
_WAL_BYTES = 64 * 1024 * 1024
_SCHEMA = """
    CREATE TABLE begin(n INTEGER NOT NULL, chain BLOB NOT NULL);
    CREATE TABLE batch(
        n INTEGER PRIMARY KEY, source TEXT NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL,
        count INTEGER NOT NULL, agent BLOB NOT NULL, agent_id TEXT NOT NULL, agent_name TEXT NOT NULL,
        received_ms INTEGER NOT NULL, offset_ms INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
        digest BLOB NOT NULL, data BLOB NOT NULL, chain BLOB NOT NULL);
    CREATE UNIQUE INDEX batch_by_source ON batch(source, digest, epoch, first);
    CREATE INDEX batch_by_time ON batch(from_ms, to_ms, agent_id);
    PRAGMA user_version = 1;
"""
_COLUMNS = "n, source, epoch, first, count, agent, received_ms, offset_ms, from_ms, to_ms"
"""What the chain covers of a batch, beside its data."""

_NAME = re.compile(r"ossec-archive-(\d\d)\.db")

_encode = msgspec.msgpack.Encoder().encode
_agent_decoder = msgspec.msgpack.Decoder(Agent)


class _Day:
    """One day's file, open for writing."""

    def __init__(self, path: Path, day: date, n: int = 0, chain: bytes = bytes(32)) -> None:
        """`n` and `chain` are what a new file goes on from."""
        self.day = day
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.db = sqlite3.connect(path, timeout=_BUSY_WAIT_S, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        if not self.db.execute("PRAGMA user_version").fetchone()[0]:
            begin = f"INSERT INTO begin VALUES ({n:d}, x'{chain.hex()}')"  # noqa: S608 - a number and hex digits
            self.db.executescript(f"BEGIN; {_SCHEMA} {begin}; COMMIT;")
        path.chmod(0o640)

    def end(self) -> tuple[int, bytes] | None:
        """Number and chain value of the last batch; None when there is none."""
        row: tuple[int, bytes] | None = self.db.execute(
            "SELECT n, chain FROM batch UNION ALL SELECT n, chain FROM begin ORDER BY n DESC LIMIT 1"
        ).fetchone()
        return row

    def has(self, source: str, digest: bytes, epoch: int, first: int) -> bool:
        """Whether this batch is here, or was in an earlier epoch of its source."""
        row = self.db.execute(
            "SELECT 1 FROM batch WHERE source = ? AND digest = ? AND (epoch < ? OR (epoch = ? AND first = ?))",
            (source, digest, epoch, epoch, first),
        ).fetchone()
        return row is not None


class EventArchive:
    """Writes it. For one thread, and the only writer.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, folder: Path, heads: Heads, clock: Clock) -> None:
        self._folder = folder
        self._heads = heads
        self._clock = clock
        self._days: list[_Day] = []
        """Newest first."""
        try:
            self._days = [_Day(path, day) for day, path in reversed(_made(folder)[-REMEMBERED_DAYS:])]
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def add(self, jobs: Sequence[Job]) -> int:
        """Store batches in one transaction; those that are there already are left out.

        Returns:
            Lines that were added.

        Raises:
            StoreError: nothing was stored.
        """
        try:
            jobs = [job for job in jobs if not self._has(job)]
            if not jobs:
                return 0
            day = self._day()
            day.db.execute("BEGIN IMMEDIATE")
            try:
                added = sum(map(self._add, jobs))
                day.db.execute("COMMIT")
            except BaseException:
                day.db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        return added

    def sign(self, why: Why = "time") -> None:
        """Sign the chain's head, if it has moved since.

        Raises:
            StoreError: the disk refuses.
        """
        try:
            end = self._days[0].end() if self._days else None
            signed = self._heads.last.n if self._heads.last is not None else 0
            if end is not None and end[0] > signed:
                self._heads.add(Head(STREAM, end[0], end[1].hex(), 0, self._clock.now_ms(), why))
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the files."""
        for day in self._days:
            day.db.close()

    def _add(self, job: Job) -> int:
        if self._has(job):  # the same came twice at once
            return 0
        batch = job.batch
        digest = hashlib.sha256(batch.data).digest()
        n, before = self._days[0].end() or (0, bytes.fromhex(GENESIS))
        try:
            lines = unpack(batch.data, batch.count)
            from_ms, to_ms = span(lines, job.clock_offset_ms)
        except RemoteProtocolError:  # it becomes a dead letter; here it stays as it came
            from_ms = to_ms = job.received_ms
        row = (n + 1, job.source, batch.epoch, batch.first_seq, batch.count, _encode(job.agent))
        times = (job.received_ms, job.clock_offset_ms, from_ms, to_ms)
        chain = _link(before, (*row, *times), digest)
        self._days[0].db.execute(
            "INSERT INTO batch VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*row, job.agent.id, job.agent.name, *times, digest, batch.data, chain),
        )
        return batch.count

    def _has(self, job: Job) -> bool:
        batch = job.batch
        digest = hashlib.sha256(batch.data).digest()
        return any(day.has(job.source, digest, batch.epoch, batch.first_seq) for day in self._days)

    def _day(self) -> _Day:
        """Today's file; a new one goes on from the one before it."""
        today = self._today()
        if not self._days or self._days[0].day < today:  # a clock that was set back changes no file
            n, chain = (self._days[0].end() if self._days else None) or (0, bytes.fromhex(GENESIS))
            last = self._heads.last
            if last is not None and last.n > n:  # the file before it is gone
                n, chain = last.n, bytes.fromhex(last.chain)
            name = f"ossec-archive-{today.day:02d}.db"
            folder = self._folder / f"{today.year:04d}" / MONTHS[today.month - 1]
            opened = _Day(folder / name, today, n, chain)
            self._days.insert(0, opened)
            for old in self._days[REMEMBERED_DAYS:]:
                old.db.close()
            del self._days[REMEMBERED_DAYS:]
        return self._days[0]

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000).date()  # noqa: DTZ006 - days are local, as OSSEC's

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"{self._folder}: the archive cannot be written: {error}")


def _link(before: bytes, row: tuple[Any, ...], digest: bytes) -> bytes:
    """The chain value behind a batch: over all that is stored of it."""
    return hashlib.sha256(before + _encode(row) + digest).digest()


def days(folder: Path) -> list[tuple[date, Path]]:
    """All files of the archive, oldest first."""
    found: list[tuple[date, Path]] = []
    for path in folder.glob("[0-9][0-9][0-9][0-9]/*/ossec-archive-*.db"):
        match = _NAME.fullmatch(path.name)
        if match is not None and path.parent.name in MONTHS:
            found.append((date(int(path.parent.parent.name), MONTHS.index(path.parent.name) + 1, int(match[1])), path))
    return sorted(found)


def _made(folder: Path) -> list[tuple[date, Path]]:
    """Files that were made to the end; what a kill left of others is removed."""
    found: list[tuple[date, Path]] = []
    for day, path in days(folder):
        with closing(sqlite3.connect(path)) as db:
            whole = db.execute("PRAGMA user_version").fetchone()[0]
        if whole:
            found.append((day, path))
        else:
            path.unlink()
    return found


def find(
    folder: Path,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    agent: str | None = None,
    pattern: "re.Pattern[bytes] | None" = None,
) -> Iterator[dict[str, Any]]:
    """Lines by event time (both ends included), agent (id or name) and what is in them, in the order in which they came.

    Raises:
        StoreError: there is no archive, or it cannot be read.
    """
    if not folder.exists():
        raise StoreError(f"{folder}: there is no archive; [archive] enabled = true makes one")
    first = datetime.fromtimestamp(since_ms / 1000).date() if since_ms is not None else date.min  # noqa: DTZ006
    low, high = since_ms or 0, until_ms if until_ms is not None else 2**62
    where = "to_ms >= :low AND from_ms <= :high" + (" AND :agent IN (agent_id, agent_name)" if agent else "")
    for day, path in days(folder):
        if day < first:
            continue  # nothing is received long before it happened
        for source, epoch, seq, count, packed, offset_ms, data in _rows(
            path,
            f"SELECT source, epoch, first, count, agent, offset_ms, data FROM batch WHERE {where} ORDER BY n",  # noqa: S608 - constants
            {"low": low, "high": high, "agent": agent},
        ):
            try:
                lines = unpack(data, count)
            except RemoteProtocolError:
                continue
            sender = _agent_decoder.decode(packed)
            for number, line in numbered(seq, lines):
                if low <= line.at_ms + offset_ms <= high and (pattern is None or pattern.search(line.text)):
                    yield told(sender, source, epoch, number, line, offset_ms)


def _rows(path: Path, sql: str, values: dict[str, Any] | None = None) -> Iterator[tuple[Any, ...]]:
    """What a question gives, a piece at a time, so that no reader holds a day's log for long."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"  # in WAL mode even a reader writes the shared index
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_WAIT_S, isolation_level=None)) as db:
            db.execute("PRAGMA query_only = ON")
            yield from db.execute(sql, values or {})
    except sqlite3.OperationalError as error:
        if not path.exists() or str(error).startswith("no such table"):
            return  # its time was over meanwhile, or it is just being made
        raise StoreError(f"{path}: the archive cannot be read: {error}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{path}: the archive is damaged: {error}") from error


def verify_archive(
    folder: Path, evidence: Path, public: str, since: date | None = None, anchors: Sequence[Path] = ()
) -> Verdict:
    """Check every batch against its chain value, and those against heads here and in anchors. It ends at the first problem.

    Raises:
        StoreError: it cannot be read.
    """
    check = _Check(evidence, public)
    for anchor in anchors:
        check.anchor(anchor)
    for day, path in days(folder):
        if check.problem is None:
            check.file(path, whole=since is None or day >= since)
    check.finish(folder)
    return check.verdict()


class _Check:
    """The chain, as far as it was followed."""

    def __init__(self, evidence: Path, public: str) -> None:
        self.problem: Problem | None = None
        self._end: tuple[int, bytes] | None = None
        self._signed: dict[int, Head] = {}
        self._files = self._bytes = self._lines = self._batches = self._anchored = 0
        path = evidence / ARCHIVE
        for head, raw, signature, _ in read_heads(path):
            self._signed[head.n] = head
            if not is_signed(public, raw, signature):
                self._fails(path, f"the head of batch {head.n} is not of this key", head.n)

    def anchor(self, path: Path) -> None:
        """What an anchor says must hold, too."""
        for head in heads_of(path, STREAM):
            known = self._signed.setdefault(head.n, head)
            self._anchored += 1
            if known.chain != head.chain:
                self._fails(path, f"this anchor has another head for batch {head.n} than the one here", head.n)

    def file(self, path: Path, *, whole: bool) -> None:
        """Go on with a day: through it, or to its end only."""
        begin = next(_rows(path, "SELECT n, chain FROM begin"), None)
        if begin is None:
            return self._fails(path, "says not what it goes on from", 0)
        if self._end is not None and self._end != begin:
            text = f"goes on from batch {begin[0]}, but the file before it ends with {self._end[0]}"
            return self._fails(path, f"{text}: a file is missing or was altered", begin[0] + 1)
        self._end = begin
        if not whole:
            last = next(_rows(path, "SELECT n, chain FROM batch ORDER BY n DESC LIMIT 1"), None)
            self._end = last or begin
            return None
        self._files += 1
        for row in _rows(path, f"SELECT {_COLUMNS}, data, chain FROM batch ORDER BY n"):  # noqa: S608 - constants
            self._batch(path, row)
            if self.problem is not None:
                return None
        return None

    def finish(self, folder: Path) -> None:
        """Is what was signed last still there?"""
        end = self._end[0] if self._end is not None else 0
        if self.problem is None and self._signed and max(self._signed) > end:
            newest = max(self._signed)
            text = f"ends with batch {end}, but batch {newest} was signed: what came last was removed"
            self._fails(folder, text, newest)

    def verdict(self) -> Verdict:
        """What was found."""
        problems = (self.problem,) if self.problem is not None else ()
        return Verdict(
            problems, self._files, self._bytes, self._lines, self._batches, len(self._signed), self._anchored
        )

    def _batch(self, path: Path, row: tuple[Any, ...]) -> None:
        *fields, data, stored = row
        before, chain = self._end or (0, b"")
        n, source, epoch, first, count = fields[:5]
        value = _link(chain, tuple(fields), hashlib.sha256(data).digest())
        self._end = n, value
        self._bytes, self._lines, self._batches = self._bytes + len(data), self._lines + count, self._batches + 1
        where = f"lines {first} to {first + count - 1} of {source}, epoch {epoch}"
        if n != before + 1 or value != stored:
            self._fails(path, f"{where}: this batch was altered, or the one before it was removed", n)
        elif (head := self._signed.get(n)) is not None and head.chain != value.hex():
            self._fails(path, f"{where}: altered up to there and chained anew: it is not what was signed", n)

    def _fails(self, path: Path, what: str, n: int) -> None:
        self.problem = self.problem or Problem(STREAM, str(path), what, seal=n)


class ArchiveRetention:
    """Removes days of the archive whose time is over. For one thread."""

    def __init__(self, folder: Path, clock: Clock, limit: Limit) -> None:
        self._folder = folder
        self._clock = clock
        self._limit = limit

    def run(self) -> list[str]:
        """Remove what has to go; returns what the rules shall see.

        Raises:
            StoreError: the disk refuses.
        """
        today = datetime.fromtimestamp(self._clock.now_ms() / 1000).date()  # noqa: DTZ006 - as the files are named
        files = [(path, day, path.stat().st_size) for day, path in days(self._folder)]
        said: list[str] = []
        kept = sum(size for _, _, size in files[-2:])  # the last two say what is stored already
        try:
            for path, reason in gone(files[:-2], kept, self._limit, today):
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                said.append(f"records removed: {path.relative_to(self._folder)}: {reason}")
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from error
        return said
