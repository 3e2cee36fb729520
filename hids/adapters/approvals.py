"""Machines that wait until a person approves them, in the registry's file. Its transactions are the registry's."""

from collections.abc import Sequence

import msgspec
import sqlite_utils

from hids.adapters.newcomer import Newcomer, groups_text, printable
from hids.errors import ConfigError, JoinRefused

MAX_PENDING = 1_000
"""Requests that wait for approval; more are refused."""
PENDING_S = 7 * 86_400
"""A request that nobody decided on is forgotten after so long."""


class PendingRow(msgspec.Struct, frozen=True):
    """A machine that waits for approval."""

    key: str
    """SHA-256 of its public key, in hex; the first digits name it."""
    name: str
    machine_id: str
    address: str
    os: str
    software: str
    groups: str
    asked_ms: int
    state: str
    """"waiting", "approved" or "denied"."""
    decided_by: str


class Waits(Exception):  # noqa: N818 - an answer
    """The request is noted; somebody has to approve it. `is_new`: it was not there before."""

    def __init__(self, key: str, *, is_new: bool) -> None:
        super().__init__(f"a person has to approve it: `hidsctl agent approve {key[:12]}`")
        self.is_new = is_new


class Approvals:
    """The table `pending`."""

    def __init__(self, db: sqlite_utils.Database) -> None:
        self._db = db

    def list(self) -> Sequence[PendingRow]:
        """Who waits, and who was decided on but did not ask again yet."""
        query = f"SELECT {', '.join(PendingRow.__struct_fields__)} FROM pending ORDER BY asked_ms"  # noqa: S608 - ours
        return [PendingRow(*row) for row in self._db.conn.execute(query)]

    def decide(self, which: str, by: str, *, approved: bool) -> PendingRow:
        """Approve or deny a request, by its name or the first digits of its key.

        Raises:
            ConfigError: none or several are called so.
        """
        rows = [row for row in self.list() if row.name == which or (which and row.key.startswith(which))]
        if len(rows) != 1:
            what = "nobody who waits" if not rows else "more than one that waits"
            raise ConfigError(f"{what} is called {which!r}; `hidsctl agent pending` shows all")
        state = "approved" if approved else "denied"
        self._db.conn.execute(
            "UPDATE pending SET state = ?, decided_by = ? WHERE key = ?", (state, printable(by), rows[0].key)
        )
        return msgspec.structs.replace(rows[0], state=state, decided_by=by)

    def decided(self, newcomer: Newcomer, now_ms: int) -> PendingRow | None:
        """What was decided on this key; None when it never asked."""
        self._db.conn.execute("DELETE FROM pending WHERE asked_ms < ?", (now_ms - PENDING_S * 1000,))
        return next((row for row in self.list() if newcomer.key and row.key == newcomer.key), None)

    def queue(self, newcomer: Newcomer, groups: Sequence[str], now_ms: int) -> None:
        """Have it wait.

        Raises:
            JoinRefused: too many do.
        """
        (count,) = self._db.conn.execute("SELECT count(*) FROM pending").fetchone()
        if count >= MAX_PENDING:
            raise JoinRefused("too many machines wait for approval; ask the manager's administrator")
        row = {
            "key": newcomer.key,
            "name": newcomer.name,
            "machine_id": newcomer.machine_id,
            "address": newcomer.address,
            "os": printable(newcomer.os),
            "software": printable(newcomer.software),
            "groups": groups_text(groups),
            "asked_ms": now_ms,
            "state": "waiting",
            "decided_by": "",
        }
        self._db.table("pending").upsert(row, pk="key")

    def forget(self, key: str) -> None:
        """It has been taken in."""
        self._db.conn.execute("DELETE FROM pending WHERE key = ?", (key,))
