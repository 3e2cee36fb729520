"""MailQueue: alerts that wait to be mailed, and mails that wait to be sent, in a SQLite file of the output.

An alert is in here before the outbox's cursor passes it. What a mail holds is settled before its first try, so that every try
is the same mail. Of very many alerts that wait the highest levels are kept, the others are counted by rule.
"""

import secrets
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from hids.adapters.sqlite import transaction
from hids.core.alert.letter import More
from hids.core.alert.mailing import HOUR_MS
from hids.errors import StoreError

KEPT = 200
"""Alerts that one mail shows."""
URGENT_EACH = 10
"""More urgent alerts that come together share a mail, also where each shall have its own."""
THREADS = 10_000
"""Incidents whose subject is remembered."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS queue (delivery TEXT NOT NULL, token TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS mails (
        id INTEGER PRIMARY KEY AUTOINCREMENT, thread TEXT NOT NULL, urgent INTEGER NOT NULL, made_ms INTEGER NOT NULL,
        sent INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE IF NOT EXISTS alerts (
        id TEXT PRIMARY KEY, number INTEGER NOT NULL, level INTEGER NOT NULL, rule TEXT NOT NULL, description TEXT NOT NULL,
        thread TEXT NOT NULL, line BLOB NOT NULL, at_ms INTEGER NOT NULL, mail INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS alerts_of_mail ON alerts (mail, level);
    CREATE TABLE IF NOT EXISTS more (
        mail INTEGER NOT NULL, rule TEXT NOT NULL, level INTEGER NOT NULL, description TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (mail, rule, level));
    CREATE TABLE IF NOT EXISTS threads (id TEXT PRIMARY KEY, subject TEXT NOT NULL, mail INTEGER NOT NULL);
"""


class Waiting(msgspec.Struct, frozen=True):
    """An alert on its way into a mail."""

    id: str
    number: int
    level: int
    rule: str
    description: str
    thread: str
    """Id of the incident; empty: it belongs to none."""
    line: bytes


class Mail(msgspec.Struct, frozen=True):
    """A mail that waits to be sent."""

    id: int
    thread: str
    alerts: tuple[bytes, ...]
    more: tuple[More, ...]


class MailQueue:
    """For one thread. Every method is one durable transaction, and raises `StoreError` when the disk does not take it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._named():
            self._db = sqlite3.connect(path, isolation_level=None)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            with transaction(self._db):
                if self._db.execute("SELECT 1 FROM queue").fetchone() is None:
                    self._db.execute("INSERT INTO queue VALUES ('', ?)", (secrets.token_hex(6),))
            self.token: str = self._db.execute("SELECT token FROM queue").fetchone()[0]
            """Tells the mails of this file from those of another one."""

    def add(self, delivery: str, alerts: Sequence[Waiting], urgent: int, now_ms: int, *, each: bool) -> None:
        """Take alerts; those from level `urgent` on become mails at once.

        Args:
            delivery: what tells it from the one before: the same one again is known.
            alerts: in order. Those that wait in here are known, too.
            urgent: a level.
            now_ms: the time.
            each: a mail for each urgent one, unless they are very many; else one for each thread.
        """
        with self._named(), transaction(self._db):
            if self._db.execute("SELECT 1 FROM queue WHERE delivery = ?", (delivery,)).fetchone() is not None:
                return
            news = [alert for alert in alerts if not self._has(alert.id)]
            hurried = [alert for alert in news if alert.level >= urgent]
            mails: dict[tuple[str, str], int] = {}
            for alert in hurried:
                key = (alert.thread, alert.id if each and len(hurried) <= URGENT_EACH else "")
                if key not in mails:
                    mails[key] = self._new_mail(alert.thread, now_ms, urgent=True)
                self._insert(alert, now_ms, mails[key])
            for alert in news:
                if alert.level < urgent:
                    self._insert(alert, now_ms, 0)
            self._keep_few()
            self._db.execute("UPDATE queue SET delivery = ?", (delivery,))

    def gathered(self) -> tuple[int, int, tuple[str, ...]]:
        """How many alerts are gathered, the time of the first, and the threads that they belong to."""
        with self._named():
            count, since = self._db.execute("SELECT count(*), min(at_ms) FROM alerts WHERE mail = 0").fetchone()
            threads = self._db.execute(
                "SELECT DISTINCT thread FROM alerts WHERE mail = 0 ORDER BY number LIMIT ?", (KEPT,)
            )
            return count, since or 0, tuple(thread for (thread,) in threads)

    def counted(self) -> int:
        """Alerts that are gathered and only counted."""
        with self._named():
            return int(self._db.execute("SELECT coalesce(sum(count), 0) FROM more WHERE mail = 0").fetchone()[0])

    def made_ms(self, now_ms: int) -> list[int]:
        """When the mails of the last hour were made that are not urgent, the oldest first."""
        with self._named():
            rows = self._db.execute(
                "SELECT made_ms FROM mails WHERE NOT urgent AND made_ms > ? ORDER BY made_ms", (now_ms - HOUR_MS,)
            )
            return [moment for (moment,) in rows]

    def make(self, now_ms: int, *, each: bool, by_thread: bool) -> None:
        """Make mails of what is gathered: one for each alert, one for each thread, or one for all."""
        with self._named(), transaction(self._db):
            if each:
                for alert, thread in self._db.execute(
                    "SELECT id, thread FROM alerts WHERE mail = 0 ORDER BY number"
                ).fetchall():
                    mail = self._new_mail(thread, now_ms, urgent=False)
                    self._db.execute("UPDATE alerts SET mail = ? WHERE id = ?", (mail, alert))
            elif by_thread:
                for (thread,) in self._db.execute("SELECT DISTINCT thread FROM alerts WHERE mail = 0").fetchall():
                    mail = self._new_mail(thread, now_ms, urgent=False)
                    self._db.execute("UPDATE alerts SET mail = ? WHERE mail = 0 AND thread = ?", (mail, thread))
            else:
                mail = self._new_mail("", now_ms, urgent=False)
                self._db.execute("UPDATE alerts SET mail = ? WHERE mail = 0", (mail,))
                self._db.execute("UPDATE more SET mail = ? WHERE mail = 0", (mail,))

    def next(self) -> Mail | None:
        """The next mail to send, urgent ones first; None: there is none."""
        with self._named():
            found = self._db.execute(
                "SELECT id, thread FROM mails WHERE NOT sent ORDER BY urgent DESC, id LIMIT 1"
            ).fetchone()
            if found is None:
                return None
            lines = self._db.execute("SELECT line FROM alerts WHERE mail = ? ORDER BY number", (found[0],))
            more = self._db.execute("SELECT rule, level, description, count FROM more WHERE mail = ?", (found[0],))
            return Mail(
                found[0],
                found[1],
                tuple(line for (line,) in lines),
                tuple(More(rule, level, description, count) for rule, level, description, count in more),
            )

    def subject_of(self, thread: str) -> str | None:
        """Under which subject an incident was mailed first."""
        with self._named():
            found = self._db.execute("SELECT subject FROM threads WHERE id = ?", (thread,)).fetchone()
            return None if found is None else str(found[0])

    def sent(self, mail: Mail, subject: str, now_ms: int) -> None:
        """This one is with the server, or will never be."""
        with self._named(), transaction(self._db):
            self._db.execute("UPDATE mails SET sent = 1 WHERE id = ?", (mail.id,))
            self._db.execute("DELETE FROM alerts WHERE mail = ?", (mail.id,))
            self._db.execute("DELETE FROM more WHERE mail = ?", (mail.id,))
            if mail.thread:
                self._db.execute("INSERT OR IGNORE INTO threads VALUES (?, ?, ?)", (mail.thread, subject, mail.id))
                self._db.execute("DELETE FROM threads WHERE mail <= ?", (mail.id - THREADS,))
            self._db.execute("DELETE FROM mails WHERE sent AND made_ms <= ?", (now_ms - HOUR_MS,))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _has(self, alert: str) -> bool:
        return self._db.execute("SELECT 1 FROM alerts WHERE id = ?", (alert,)).fetchone() is not None

    def _new_mail(self, thread: str, now_ms: int, *, urgent: bool) -> int:
        made = self._db.execute(
            "INSERT INTO mails (thread, urgent, made_ms) VALUES (?, ?, ?)", (thread, urgent, now_ms)
        ).lastrowid
        return made or 0

    def _insert(self, alert: Waiting, now_ms: int, mail: int) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                alert.id,
                alert.number,
                alert.level,
                alert.rule,
                alert.description,
                alert.thread,
                alert.line,
                now_ms,
                mail,
            ),
        )

    def _keep_few(self) -> None:
        """Of what is gathered count the alerts that are too many: the lowest levels, of those the newest."""
        self._db.execute(
            """INSERT INTO more SELECT 0, rule, level, description, count(*) FROM (
                   SELECT rule, level, description FROM alerts WHERE mail = 0 ORDER BY level DESC, number LIMIT -1 OFFSET :kept)
               WHERE true GROUP BY rule, level
               ON CONFLICT (mail, rule, level) DO UPDATE SET count = count + excluded.count""",
            {"kept": KEPT},
        )
        self._db.execute(
            """DELETE FROM alerts WHERE id IN (
                   SELECT id FROM alerts WHERE mail = 0 ORDER BY level DESC, number LIMIT -1 OFFSET :kept)""",
            {"kept": KEPT},
        )

    @contextmanager
    def _named(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{self._path}: mails that wait cannot be kept: {error}; make room, or remove the file if it is damaged:"
                " what waits in it is in alerts.json"
            ) from error
