"""ledger.db: what is committed. The lane is its only writer.

One group is one transaction with synchronous FULL: alerts, the state of every window touched, syscheck baselines,
derived lines and progress move together or not at all. Schema and cold paths use sqlite-utils; the group commit is
plain `execute` in an explicit BEGIN IMMEDIATE.
"""

import contextlib
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from hids.adapters.ledger_schema import bring_up_to_date
from hids.adapters.sqlite import transaction
from hids.core.syscheck.change import IGNORED
from hids.core.syscheck.paths import range_of, split
from hids.core.wire.lines import GENESIS, link
from hids.errors import StoreDamaged, StoreError
from hids.messages.baseline import Baseline, BaselineOrder, Maintenance
from hids.messages.lane import DerivedBatch, Place, Progress
from hids.messages.lines import Batch, LogLine
from hids.messages.syscheck import DirectoryDigests, DirectoryListing, FileFact
from hids.messages.terms import Agent, SourceId
from hids.ports import DeadLetter, Group

WAL_TRUNCATE_BYTES = 64 * 1024 * 1024
"""Above this the write-ahead log is folded back after a commit."""

KNOWN_BATCHES = 10_000
"""Digests remembered per source, to recognise a batch that comes again in a new epoch."""
FORGOTTEN_TOGETHER = 64
"""So many more are there at most: looking for what is too old costs as much as a row."""

HOUR_MS = 3_600_000
"""The ledger of proof adds up by hours of commit time."""
PROOF_HOURS = 30 * 24
"""And keeps these; older lines are in the totals only."""

QUARANTINE_MAX = 10_000
"""Dead letters that are kept, settled ones going first. A line has 64 KiB at most; most have some hundred bytes."""

KEPT_CHECKS = 1_000
"""Comparisons of digests whose outcome is kept."""

LETTERS = (
    "SELECT number, source, epoch, seq, reason, text, coalesce(at_ms, 0), state, coalesce(settled_ms, 0), agent, line "
    "FROM quarantine"
)
"""Rows for `letter_of`."""

STORED_KNOWN = 250_000
"""Windows of which it is known in memory that they are stored (15 MiB), so that a new key, which most of an attack are, costs no
look at the disk. Beyond, each new key costs some microseconds more."""

_pack = msgspec.msgpack.Encoder().encode
_line_decoder = msgspec.msgpack.Decoder(LogLine)
_agent_decoder = msgspec.msgpack.Decoder(Agent)
_fact_decoder = msgspec.msgpack.Decoder(FileFact)
_maintenance_decoder = msgspec.msgpack.Decoder(Maintenance)


class Ledger:
    """The open database. Use it from one thread."""

    def __init__(self, path: Path, now_ms: int = 0) -> None:
        """Open or create it; one that is new begins its derived lines in an epoch of `now_ms`, for there may have been others.

        Raises:
            StoreError: damaged, or written by a newer version.
        """
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._prepare(now_ms)
        except sqlite3.DatabaseError as error:
            failure = StoreError if isinstance(error, sqlite3.OperationalError) else StoreDamaged
            raise failure(
                f"{path}: {error}; stop the manager, move the file away and start again: agents will send what "
                "they still have, and the gap will be reported"
            ) from error
        self._compressor = zstandard.ZstdCompressor(level=1)
        rows = self._db.execute("SELECT rule, key FROM state LIMIT ?", (STORED_KNOWN + 1,))
        self._stored: set[int] | None = self._few({hash(row) for row in rows})
        """Hashes of the windows that are stored; None when they are too many to be known."""
        self.derived_epoch = _derived_epoch(self._db)
        """Of all derived lines; it grows when a copy takes the place of a ledger."""
        self._ends = _Ends()

    @staticmethod
    def _few(stored: set[int]) -> set[int] | None:
        return stored if len(stored) <= STORED_KNOWN else None

    def _prepare(self, now_ms: int) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=4000")
        db.execute("PRAGMA busy_timeout=5000")
        bring_up_to_date(db, self._path, now_ms)
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"damaged: {verdict}")
        self._path.chmod(0o600)

    # -- reading

    def progress(self) -> dict[str, Progress]:
        """Committed progress of every source."""
        rows = self._db.execute("SELECT source, epoch, seq, chain FROM progress")
        return {source: Progress(epoch=epoch, seq=seq, chain=chain) for source, epoch, seq, chain in rows}

    def next_alert(self) -> int:
        """The number that the next alert gets; alerts are numbered from 1."""
        (highest,) = self._db.execute("SELECT max(first + count) FROM outbox").fetchone()
        (kept,) = self._db.execute("SELECT max(number) FROM meta WHERE name='next_alert'").fetchone()
        return max(highest or 1, kept or 1)

    def window(self, where: tuple[str, bytes]) -> bytes | None:
        """Stored state of a window."""
        if self._stored is not None and hash(where) not in self._stored:
            return None
        row = self._db.execute("SELECT data FROM state WHERE rule=? AND key=?", where).fetchone()
        return row[0] if row else None

    def fired(self) -> dict[str, int]:
        """How often each rule has fired, by identity."""
        return dict(self._db.execute("SELECT rule, count FROM fired"))

    def baseline(self, agent: str, path: str) -> Baseline | None:
        """What syscheck last knew of a path."""
        row = self._db.execute(
            "SELECT fact, changes, told FROM baseline WHERE agent=? AND folder=? AND name=?", (agent, *split(path))
        ).fetchone()
        return baseline_of(*row) if row else None

    def changes(self, agent: str, path: str) -> int | None:
        """How often a path had changed when it changed last; None: no change of it is kept."""
        row = self._db.execute(
            "SELECT changes FROM history WHERE agent=? AND folder=? AND name=? ORDER BY number DESC LIMIT 1",
            (agent, *split(path)),
        ).fetchone()
        return row[0] if row else None

    def below(self, agent: str, said: DirectoryDigests) -> Iterator[tuple[str, Baseline]]:
        """(path, baseline) for all entries of the folders that an answer speaks of."""
        first, end = range_of(said.top)
        rows = self._db.execute(
            "SELECT folder || name, fact, changes, told FROM baseline "
            "WHERE agent=? AND folder>=? AND folder<? AND folder>? AND (?='' OR folder<=?)",
            (agent, first, end, said.after, said.through, said.through),
        )
        return ((path, baseline_of(*row)) for path, *row in rows)

    def entries(self, agent: str, listing: DirectoryListing) -> list[str]:
        """Paths of the entries that a listing is about."""
        rows = self._db.execute(
            "SELECT folder || name FROM baseline WHERE agent=? AND folder=? AND name>? AND (?='' OR name<=?)",
            (agent, listing.folder, listing.after, listing.through, listing.through),
        )
        return [path for (path,) in rows]

    def maintenance(self, since_ms: int) -> tuple[Maintenance, ...]:
        """Maintenances that go on, or ended after a time."""
        rows = self._db.execute("SELECT data FROM maintenance WHERE ended_ms=0 OR ended_ms>?", (since_ms,))
        return tuple(_maintenance_decoder.decode(data) for (data,) in rows)

    def derived(self) -> tuple[DerivedBatch, ...]:
        """Derived lines that are not yet evaluated, oldest first."""
        rows = self._db.execute(
            "SELECT source, first_seq, count, chain, data, agent FROM derived ORDER BY source, first_seq"
        )
        return tuple(
            DerivedBatch(
                source=SourceId(source),
                agent=_agent_decoder.decode(agent),
                batch=Batch(epoch=self.derived_epoch, first_seq=first, count=count, chain=chain, data=data),
            )
            for source, first, count, chain, data, agent in rows
        )

    def derived_ends(self) -> dict[str, tuple[int, bytes]]:
        """Last sequence and chain value of each derived source."""
        return {
            source: (seq, chain)
            for source, seq, chain in self._db.execute("SELECT source, seq, chain FROM derived_end")
        }

    def notices(self, boot: str) -> int:
        """Highest notice number committed for a boot of main."""
        row = self._db.execute("SELECT number FROM meta WHERE name='notices' AND text=?", (boot,)).fetchone()
        return row[0] if row else 0

    def knows(self, source: str, digest: bytes, epoch: int) -> bool:
        """Whether a batch with these bytes is among the last that were applied for the source in an earlier epoch.

        Within one epoch equal bytes are other lines: a program that says the same many times in one millisecond.
        """
        if self._first_epoch(source, epoch) >= epoch:  # the usual case: it never had another
            return False
        row = self._db.execute(
            "SELECT 1 FROM digest WHERE source=? AND digest=? AND epoch < ?", (source, digest, epoch)
        ).fetchone()
        return row is not None

    def _first_epoch(self, source: str, epoch: int) -> int:
        """The oldest epoch of a source's digests, or one before it; of a source without any, that of its first batch."""
        first = self._ends.first_epochs.get(source)
        if first is None:
            (oldest,) = self._db.execute("SELECT min(epoch) FROM digest WHERE source=?", (source,)).fetchone()
            first = self._ends.first_epochs[source] = epoch if oldest is None else oldest
        return first

    def counts(self) -> dict[tuple[str, str], int]:
        """Totals by (source, what)."""
        return {(source, what): n for source, what, n in self._db.execute("SELECT source, what, n FROM counts")}

    def dead_letters(self, numbers: Sequence[int]) -> list[DeadLetter]:
        """Those of these dead letters that are there."""
        marks = ",".join("?" * len(numbers))
        return [letter_of(row) for row in self._db.execute(f"{LETTERS} WHERE number IN ({marks})", tuple(numbers))]

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    # -- writing

    def suspect(self, place: Place | None) -> tuple[Place, ...]:
        """Note that the lane died at this line, if it did.

        Returns:
            The lines, not yet committed, at which it died twice.

        Raises:
            StoreError: it cannot be noted (locked, disk full).
        """
        try:
            return self._suspect(place)
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self._path}: cannot be written: {error}; it is tried again") from error

    def _suspect(self, place: Place | None) -> tuple[Place, ...]:
        with self._transaction() as db:
            db.execute(
                "DELETE FROM suspect WHERE EXISTS (SELECT 1 FROM progress p WHERE p.source = suspect.source "
                "AND (p.epoch, p.seq) >= (suspect.epoch, suspect.seq))"
            )
            if place is not None:
                db.execute(
                    "INSERT INTO suspect VALUES (?,?,?,1) ON CONFLICT DO UPDATE SET deaths = deaths + 1",
                    (place.source, place.epoch, place.seq),
                )
            rows = db.execute("SELECT source, epoch, seq FROM suspect WHERE deaths >= 2").fetchall()
        return tuple(Place(*row) for row in rows)

    def commit(self, group: Group, first_alert: int) -> None:
        """Write one group. When this returns, it is on disk.

        Raises:
            StoreError: nothing of it is written (disk full, say).
        """
        try:
            with self._transaction() as db:
                if group.order is not None:
                    self._carry_out(db, group.order, group.at_ms)
                self._write_alerts(db, group, first_alert)
                self._write_state(db, group)
                self._write_files(db, group)
                self._write_sources(db, group)
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self._path}: cannot be written: {error}; make room or mend the disk; nothing is lost, agents keep "
                "what is not acknowledged, and it goes on by itself"
            ) from error
        self._shrink_wal()

    def _write_alerts(self, db: sqlite3.Connection, group: Group, first_alert: int) -> None:
        if group.alerts:
            data = self._compressor.compress(b"".join(group.alerts))
            db.execute("INSERT INTO outbox VALUES (?,?,?,?)", (first_alert, len(group.alerts), data, group.at_ms))
        if group.cursors:
            low = min(group.cursors.values())
            db.execute("INSERT OR REPLACE INTO meta VALUES ('next_alert', '', ?)", (first_alert + len(group.alerts),))
            db.execute("DELETE FROM outbox WHERE first + count - 1 <= ?", (low,))

    def _write_state(self, db: sqlite3.Connection, group: Group) -> None:
        rows = ((rule, key, data, until_ms) for (rule, key), (data, until_ms) in group.state.items())
        db.executemany("INSERT OR REPLACE INTO state VALUES (?,?,?,?)", rows)
        if self._stored is not None:
            self._stored.update(map(hash, group.state))
            self._stored = self._few(self._stored)
        for rule, count in group.fired.items():
            db.execute("INSERT OR REPLACE INTO fired VALUES (?,?)", (rule, count))

    def _write_files(self, db: sqlite3.Connection, group: Group) -> None:
        """Baselines, their history, and what was compared and announced."""
        there = (
            (agent, *split(path), _pack(each.fact), each.changes, each.told)
            for (agent, path), each in group.baselines.items()
            if each is not None
        )
        gone = ((agent, *split(path)) for (agent, path), each in group.baselines.items() if each is None)
        db.executemany("INSERT OR REPLACE INTO baseline VALUES (?,?,?,?,?,?)", there)
        db.executemany("DELETE FROM baseline WHERE agent=? AND folder=? AND name=?", gone)
        changes = (
            (each.agent, *split(each.path), each.at_ms, group.at_ms, each.event, each.told, each.changes, each.verdict)
            for each in group.changes
        )
        db.executemany(
            "INSERT INTO history (agent, folder, name, at_ms, stored_ms, event, told, changes, verdict) "
            "VALUES (?,?,?,?,?,?,?,?,?)",
            changes,
        )
        for check in group.checks:
            db.execute(
                "INSERT INTO digest_check VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET at_ms=excluded.at_ms, "
                "directories=directories + excluded.directories, done=max(done, excluded.done)",
                (check.id, check.agent, group.at_ms, check.directories, check.done),
            )
            rows = ((check.id, folder) for folder in check.differing)
            db.executemany("INSERT OR IGNORE INTO differing VALUES (?,?)", rows)
        for each in group.maintenance:
            db.execute("INSERT OR REPLACE INTO maintenance VALUES (?,?,?)", (each.id, each.ended_ms, _pack(each)))

    def _carry_out(self, db: sqlite3.Connection, order: BaselineOrder, now_ms: int) -> None:
        """Do with baselines what a person wants."""
        first, end = range_of(order.path)
        where = "agent=? AND ((folder>=? AND folder<?) OR (folder=? AND name=?))"
        whose = (order.agent.id, first, end, *split(order.path))
        db.execute("INSERT OR IGNORE INTO baseline_order VALUES (?,?,?)", (order.id, now_ms, _pack(order)))
        if order.what == "clear":
            for table in ("baseline", "history"):
                db.execute(f"DELETE FROM {table} WHERE {where}", whose)  # noqa: S608 - one of two names
        changes = IGNORED if order.what == "ignore" else 0
        for table in ("baseline", "history"):
            db.execute(f"UPDATE {table} SET changes=? WHERE {where} AND changes!=?", (changes, *whose, changes))  # noqa: S608
        if order.what == "accept":
            db.execute(
                f"UPDATE history SET accepted_ms=?, accepted_by=? WHERE {where} AND number<=? AND accepted_ms=0",  # noqa: S608
                (now_ms, order.by, *whose, order.through),
            )

    def _write_sources(self, db: sqlite3.Connection, group: Group) -> None:
        for new in group.derived:
            batch = new.batch
            last = batch.first_seq + batch.count - 1
            db.execute(
                "INSERT INTO derived VALUES (?,?,?,?,?,?)",
                (new.source, batch.first_seq, batch.count, batch.chain, batch.data, _pack(new.agent)),
            )
            db.execute("INSERT OR REPLACE INTO derived_end VALUES (?,?,?)", (new.source, last, batch.chain))
        for hole in group.holes:
            db.execute(
                "INSERT OR IGNORE INTO hole VALUES (?,?,?,?,?)",
                (hole.source, hole.epoch, hole.first, hole.last, hole.reason),
            )
        self._write_quarantine(db, group)
        rows = [(source, now.epoch, now.seq, now.chain) for source, now in group.progress.items()]
        db.executemany("INSERT OR REPLACE INTO progress VALUES (?,?,?,?)", rows)
        done = (
            (source, now.seq)
            for source, now in group.progress.items()
            if source.startswith("derived/") and now.epoch == self.derived_epoch
        )
        db.executemany("DELETE FROM derived WHERE source=? AND first_seq + count - 1 <= ?", done)
        self._write_digests(db, group.digests)
        db.executemany(
            "INSERT INTO counts VALUES (?,?,?) ON CONFLICT(source, what) DO UPDATE SET n = n + excluded.n",
            ((source, what, n) for (source, what), n in group.counts.items()),
        )
        self._write_stretches(db, group)
        if group.notices is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('notices', ?, ?)", group.notices)

    def _write_quarantine(self, db: sqlite3.Connection, group: Group) -> None:
        for source, epoch, seq, dropped, agent in group.dead:
            db.execute(
                "INSERT OR IGNORE INTO quarantine (source, epoch, seq, reason, text, agent, line, at_ms) "
                "VALUES (?,?,?,?,?,?,?,?)",
                (source, epoch, seq, dropped.reason, dropped.line, _pack(agent), dropped.packed, group.at_ms),
            )
        for number, state in group.settled.items():
            db.execute(
                "UPDATE quarantine SET state=?, settled_ms=? WHERE number=? AND state='kept'",
                (state, group.at_ms, number),
            )
        if group.dead:
            db.execute(
                "DELETE FROM quarantine WHERE number IN "
                "(SELECT number FROM quarantine ORDER BY state='kept' DESC, number DESC LIMIT -1 OFFSET ?)",
                (QUARANTINE_MAX,),
            )

    def _write_stretches(self, db: sqlite3.Connection, group: Group) -> None:
        """Within an hour the lines of a source are one stretch, unless something between them is missing."""
        hour = group.at_ms // HOUR_MS
        grown: list[tuple[str, int, int, int, int]] = []
        for (source, epoch), stretch in group.stretches.items():
            where = (source, epoch, hour)
            start, end = self._last_stretch(*where)
            first = start if end == stretch.first - 1 else stretch.first
            self._ends.stretches[source] = (epoch, hour, first, stretch.last)
            grown.append((*where, first, stretch.last))
        db.executemany("INSERT OR REPLACE INTO stretch VALUES (?,?,?,?,?)", grown)
        db.executemany(
            "INSERT INTO tally VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            (
                (*where, hour, what, n)
                for where, stretch in group.stretches.items()
                for what, n in stretch.counts.items()
            ),
        )

    def _last_stretch(self, source: str, epoch: int, hour: int) -> tuple[int, int]:
        """First and last line of the last stretch of an hour; (0, -1) where there is none."""
        last = self._ends.stretches.get(source)
        if last is not None and last[:2] == (epoch, hour):
            return last[2:]
        row: tuple[int, int] | None = self._db.execute(
            "SELECT first, last FROM stretch WHERE source=? AND epoch=? AND hour=? ORDER BY last DESC LIMIT 1",
            (source, epoch, hour),
        ).fetchone()
        return row or (0, -1)

    def _write_digests(self, db: sqlite3.Connection, digests: Iterable[tuple[str, int, bytes]]) -> None:
        rows: list[tuple[str, bytes, int, int]] = []
        full: list[tuple[str, int]] = []
        for source, epoch, digest in digests:
            number = self._ends.digests[source] = self._last_digest(source) + 1
            rows.append((source, digest, epoch, number))
            if number % FORGOTTEN_TOGETHER == 0:
                full.append((source, number - KNOWN_BATCHES))
        db.executemany("INSERT OR REPLACE INTO digest VALUES (?,?,?,?)", rows)
        db.executemany("DELETE FROM digest WHERE source=? AND n <= ?", full)

    def _last_digest(self, source: str) -> int:
        number = self._ends.digests.get(source)
        if number is None:
            (number,) = self._db.execute("SELECT coalesce(max(n), 0) FROM digest WHERE source=?", (source,)).fetchone()
        return number or 0

    def expire(self, before_ms: int, limit: int = 2000) -> int:
        """Forget windows that mattered until a time before `before_ms`; returns how many went, at most `limit`."""
        with self._transaction() as db:
            rows = db.execute("SELECT rule, key FROM state WHERE newest_ms < ? LIMIT ?", (before_ms, limit)).fetchall()
            db.executemany("DELETE FROM state WHERE rule=? AND key=?", rows)
            if self._stored is not None:
                self._stored.difference_update(map(hash, rows))
            kept_from = before_ms // HOUR_MS - PROOF_HOURS
            for table in ("stretch", "tally"):
                db.execute(f"DELETE FROM {table} WHERE hour < ?", (kept_from,))  # noqa: S608 - one of two names
        return len(rows)

    def trim_history(self, before_ms: int, limit: int, at_once: int = 2000) -> int:
        """Forget changes of files that were stored before a time, and the oldest beyond a number, at most so many at once.

        Old checks and maintenances go with them.
        """
        with self._transaction() as db:
            (newest,) = db.execute("SELECT coalesce(max(number), 0) FROM history").fetchone()
            gone = db.execute(
                "DELETE FROM history WHERE number IN (SELECT number FROM history ORDER BY number LIMIT ?) "
                "AND (stored_ms<? OR number<=?)",
                (at_once, before_ms, newest - limit),
            ).rowcount
            db.execute("DELETE FROM maintenance WHERE ended_ms>0 AND ended_ms<?", (before_ms,))
            kept = "(SELECT id FROM digest_check ORDER BY at_ms DESC LIMIT ?)"
            db.execute(f"DELETE FROM digest_check WHERE id NOT IN {kept}", (KEPT_CHECKS,))  # noqa: S608 - as above
            db.execute("DELETE FROM baseline_order WHERE at_ms<?", (before_ms,))
            db.execute("DELETE FROM differing WHERE id NOT IN (SELECT id FROM digest_check)")
        return gone

    def trim_state(self, limit: int, at_once: int = 50_000) -> tuple[int, int] | None:
        """Drop those windows beyond `limit` whose events are the oldest, at most so many at once.

        Returns:
            (number dropped, time until which the newest of them mattered), or None.
        """
        (count,) = self._db.execute("SELECT count(*) FROM state").fetchone()
        excess = min(count - limit, at_once)
        if excess <= 0:
            return None
        with self._transaction() as db:
            (newest_ms,) = db.execute(
                "SELECT newest_ms FROM state ORDER BY newest_ms LIMIT 1 OFFSET ?", (excess - 1,)
            ).fetchone()
            db.execute(
                "DELETE FROM state WHERE rowid IN (SELECT rowid FROM state ORDER BY newest_ms LIMIT ?)", (excess,)
            )
        return excess, newest_ms

    def trim_outbox(self, limit_bytes: int, before_ms: int) -> tuple[int, int] | None:
        """Drop the oldest outbox rows when they are over the budget, and those from before `before_ms`.

        Returns:
            (first, last) alert number that no output may have written, or None.
        """
        total, oldest_ms = self._db.execute(
            "SELECT coalesce(sum(length(data)), 0), coalesce(min(at_ms), ?) FROM outbox", (before_ms,)
        ).fetchone()
        if total <= limit_bytes and oldest_ms >= before_ms:
            return None
        first = last = 0
        with self._transaction() as db:
            for number, count, size, at_ms in db.execute(
                "SELECT first, count, length(data), at_ms FROM outbox ORDER BY first"
            ).fetchall():
                if total <= limit_bytes and at_ms >= before_ms:
                    break
                db.execute("DELETE FROM outbox WHERE first=?", (number,))
                first, last, total = first or number, number + count - 1, total - size
            db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('next_alert', '', max(?, "
                "coalesce((SELECT max(number) FROM meta WHERE name='next_alert'), 1)))",
                (last + 1,),
            )
        return first, last

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        try:
            with transaction(self._db) as db:
                yield db
        except BaseException:
            self._ends = _Ends()
            raise

    def _shrink_wal(self) -> None:
        if self.wal_bytes() > WAL_TRUNCATE_BYTES:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Fold the write-ahead log back and close."""
        self._db.close()


def _derived_epoch(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT number FROM meta WHERE name='derived_epoch'").fetchone()
    return int(row[0]) if row else 1


def renumber_derived(db: sqlite3.Connection, now_ms: int) -> None:
    """Begin a new epoch of derived lines in a ledger that goes back in time.

    Its derived lines get other sequences than those that were told after it, and so their alerts other ids. What waits for its
    evaluation moves into the new epoch.
    """
    epoch = max(_derived_epoch(db) + 1, now_ms // 1000)
    with db:
        for (source,) in db.execute("SELECT source FROM derived_end").fetchall():
            chain, seq = GENESIS, 1
            rows = db.execute("SELECT first_seq, count, data FROM derived WHERE source=? ORDER BY first_seq", (source,))
            for first_seq, count, data in rows.fetchall():
                chain = link(chain, data)
                # A new number is never above the old one, and the rows below have moved already: no collision.
                db.execute(
                    "UPDATE derived SET first_seq=?, chain=? WHERE source=? AND first_seq=?",
                    (seq, chain, source, first_seq),
                )
                seq += count
            db.execute("UPDATE derived_end SET seq=?, chain=? WHERE source=?", (seq - 1, chain, source))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('derived_epoch', '', ?)", (epoch,))


class _Ends:
    """What tables end with, by source, as far as it was asked for: each batch adds a row to each of them."""

    def __init__(self) -> None:
        self.first_epochs: dict[str, int] = {}
        """At most the oldest epoch of its digests."""
        self.digests: dict[str, int] = {}
        """Number of the last digest."""
        self.stretches: dict[str, tuple[int, int, int, int]] = {}
        """(epoch, hour, first, last) of the stretch that grows."""


def baseline_of(fact: bytes, changes: int, told: bytes) -> Baseline:
    """A row of `baseline`, without its key."""
    return Baseline(_fact_decoder.decode(fact), changes, told)


def letter_of(row: tuple[Any, ...]) -> DeadLetter:
    """A row of `LETTERS`."""
    number, source, epoch, seq, reason, text, at_ms, state, settled_ms, agent, line = row
    return DeadLetter(
        number=number,
        source=source,
        epoch=epoch,
        seq=seq,
        reason=reason,
        text=text,
        at_ms=at_ms,
        state=state,
        settled_ms=settled_ms,
        agent=_agent_decoder.decode(agent) if agent else None,
        line=_line_decoder.decode(line) if line else None,
    )
