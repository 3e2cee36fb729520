"""ledger.db: what is committed. The lane is its only writer.

One group is one transaction with synchronous FULL: alerts, the state of every window touched, syscheck baselines,
derived lines and progress move together or not at all. Schema and cold paths use sqlite-utils; the group commit is
plain `execute` in an explicit BEGIN IMMEDIATE.
"""

import contextlib
import sqlite3
from collections.abc import Generator, Iterable
from pathlib import Path

import msgspec
import zstandard
from sqlite_utils import Database

from hids.errors import StoreError
from hids.messages import Agent, Batch, DerivedBatch, FileFact, Progress, SourceId
from hids.ports import Group

SCHEMA_VERSION = 1

WAL_TRUNCATE_BYTES = 64 * 1024 * 1024
"""Above this the write-ahead log is folded back after a commit."""

KNOWN_BATCHES = 10_000
"""Digests remembered per source, to recognise a batch that comes again in a new epoch."""

_pack = msgspec.msgpack.Encoder().encode
_agent_decoder = msgspec.msgpack.Decoder(Agent)
_fact_decoder = msgspec.msgpack.Decoder(FileFact)


class Ledger:
    """The open database. Use it from one thread."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            StoreError: damaged, or written by a newer version.
        """
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{path}: {error}; stop the manager, move the file away and start again: agents will send what "
                "they still have, and the gap will be reported"
            ) from error
        self._compressor = zstandard.ZstdCompressor(level=1)

    def _prepare(self) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=4000")
        db.execute("PRAGMA busy_timeout=5000")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: schema {version} is newer than {SCHEMA_VERSION}, which this version knows; "
                "install the version that wrote it"
            )
        if version == 0:
            self._create()
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"damaged: {verdict}")
        self._path.chmod(0o600)

    def _create(self) -> None:
        tables = Database(self._db)
        with tables.atomic():
            tables.table("progress").create({"source": str, "epoch": int, "seq": int, "chain": bytes}, pk="source")
            tables.table("outbox").create({"first": int, "count": int, "data": bytes, "at_ms": int}, pk="first")
            tables.table("state").create(
                {"rule": str, "key": bytes, "data": bytes, "newest_ms": int}, pk=("rule", "key")
            ).create_index(["newest_ms"])
            tables.table("fired").create({"rule": str, "count": int}, pk="rule")
            tables.table("syscheck").create({"agent": str, "path": str, "fact": bytes}, pk=("agent", "path"))
            tables.table("derived").create(
                {
                    "source": str,
                    "first_seq": int,
                    "count": int,
                    "chain": bytes,
                    "data": bytes,
                    "agent": bytes,
                },
                pk=("source", "first_seq"),
            )
            tables.table("derived_end").create({"source": str, "seq": int, "chain": bytes}, pk="source")
            tables.table("hole").create(
                {"source": str, "epoch": int, "first": int, "last": int, "reason": str},
                pk=("source", "epoch", "first"),
            )
            tables.table("dead").create(
                {"source": str, "epoch": int, "seq": int, "reason": str, "line": bytes},
                pk=("source", "epoch", "seq"),
            )
            tables.table("digest").create(
                {"source": str, "digest": bytes, "epoch": int, "n": int}, pk=("source", "digest")
            ).create_index(["source", "n"])
            tables.table("counts").create({"source": str, "what": str, "n": int}, pk=("source", "what"))
            tables.table("meta").create({"name": str, "text": str, "number": int}, pk="name")
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

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
        """Stored state of a window; some microseconds, whether there is one or not."""
        row = self._db.execute("SELECT data FROM state WHERE rule=? AND key=?", where).fetchone()
        return row[0] if row else None

    def fired(self) -> dict[str, int]:
        """How often each rule has fired, by identity."""
        return dict(self._db.execute("SELECT rule, count FROM fired"))

    def baseline(self, agent: str, path: str) -> FileFact | None:
        """What syscheck last knew of a path."""
        row = self._db.execute("SELECT fact FROM syscheck WHERE agent=? AND path=?", (agent, path)).fetchone()
        return _fact_decoder.decode(row[0]) if row else None

    def derived(self) -> tuple[DerivedBatch, ...]:
        """Derived lines that are not yet evaluated, oldest first."""
        rows = self._db.execute(
            "SELECT source, first_seq, count, chain, data, agent FROM derived ORDER BY source, first_seq"
        )
        return tuple(
            DerivedBatch(
                source=SourceId(source),
                agent=_agent_decoder.decode(agent),
                batch=Batch(epoch=1, first_seq=first, count=count, chain=chain, data=data),
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
        row = self._db.execute(
            "SELECT 1 FROM digest WHERE source=? AND digest=? AND epoch < ?", (source, digest, epoch)
        ).fetchone()
        return row is not None

    def counts(self) -> dict[tuple[str, str], int]:
        """Totals by (source, what)."""
        return {(source, what): n for source, what, n in self._db.execute("SELECT source, what, n FROM counts")}

    # -- writing

    def commit(self, group: Group, first_alert: int) -> None:
        """Write one group. When this returns, it is on disk.

        Raises:
            StoreError: nothing of it is written (disk full, say).
        """
        try:
            with self._transaction() as db:
                self._write_alerts(db, group, first_alert)
                self._write_state(db, group)
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
        for rule, count in group.fired.items():
            db.execute("INSERT OR REPLACE INTO fired VALUES (?,?)", (rule, count))
        for (agent, path), fact in group.baselines.items():
            if fact is None:
                db.execute("DELETE FROM syscheck WHERE agent=? AND path=?", (agent, path))
            else:
                db.execute("INSERT OR REPLACE INTO syscheck VALUES (?,?,?)", (agent, path, _pack(fact)))

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
        for where, epoch, seq, dropped in group.dead:
            db.execute(
                "INSERT OR IGNORE INTO dead VALUES (?,?,?,?,?)",
                (where, epoch, seq, dropped.reason, dropped.line),
            )
        for source, now in group.progress.items():
            db.execute("INSERT OR REPLACE INTO progress VALUES (?,?,?,?)", (source, now.epoch, now.seq, now.chain))
            if source.startswith("derived/"):
                db.execute("DELETE FROM derived WHERE source=? AND first_seq + count - 1 <= ?", (source, now.seq))
        self._write_digests(db, group.digests)
        for (source, what), n in group.counts.items():
            db.execute(
                "INSERT INTO counts VALUES (?,?,?) ON CONFLICT(source, what) DO UPDATE SET n = n + excluded.n",
                (source, what, n),
            )
        if group.notices is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('notices', ?, ?)", group.notices)

    def _write_digests(self, db: sqlite3.Connection, digests: Iterable[tuple[str, int, bytes]]) -> None:
        for source, epoch, digest in digests:
            row = db.execute("SELECT max(n) FROM digest WHERE source=?", (source,)).fetchone()
            number = (row[0] or 0) + 1
            db.execute("INSERT OR REPLACE INTO digest VALUES (?,?,?,?)", (source, digest, epoch, number))
            db.execute("DELETE FROM digest WHERE source=? AND n <= ?", (source, number - KNOWN_BATCHES))

    def expire(self, before_ms: int, limit: int = 2000) -> int:
        """Forget windows that mattered until a time before `before_ms`; returns how many went, at most `limit`."""
        with self._transaction() as db:
            rows = db.execute("SELECT rule, key FROM state WHERE newest_ms < ? LIMIT ?", (before_ms, limit)).fetchall()
            db.executemany("DELETE FROM state WHERE rule=? AND key=?", rows)
        return len(rows)

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
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _shrink_wal(self) -> None:
        wal = self._path.with_name(self._path.name + "-wal")
        with contextlib.suppress(FileNotFoundError):
            if wal.stat().st_size > WAL_TRUNCATE_BYTES:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Fold the write-ahead log back and close."""
        self._db.close()
