"""What tests of more than one part need: alerts as the lane commits them, and the rule language's cases."""

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard


@pytest.fixture(scope="session")
def make_alert() -> Callable[..., dict[str, Any]]:
    """A function: number and top-level members to change -> an alert."""

    def make(number: int, **members: Any) -> dict[str, Any]:
        alert = {
            "timestamp": "2026-11-24T03:21:43.123+0000",
            "rule": {
                "level": 5,
                "description": "sshd: authentication failed",
                "id": "200110",
                "firedtimes": number,
                "mail": False,
                "groups": ["syslog", "authentication_failed"],
            },
            "id": f"007-1-{number}",
            "agent": {"id": "007", "name": "web1", "ip": "10.0.0.1"},
            "manager": {"name": "boss"},
            "full_log": f"Nov 24 03:21:42 web1 sshd[{number}]: Failed password for joe from 192.0.2.7",
            "predecoder": {"program_name": "sshd", "hostname": "web1"},
            "decoder": {"name": "sshd"},
            "data": {"srcip": "192.0.2.7", "dstuser": "joe"},
            "location": "/var/log/auth.log",
            "hids": {"number": number, "source": "agent/007", "seq": number, "epoch": 1},
        }
        return alert | members

    return make


@pytest.fixture(scope="session")
def make_lines(make_alert: Callable[..., dict[str, Any]]) -> Callable[..., bytes]:
    """A function: first number, count and members to change -> the JSON lines of that many alerts."""

    def make(first: int, count: int = 1, **members: Any) -> bytes:
        return b"".join(
            json.dumps(make_alert(number, **members), separators=(",", ":")).encode() + b"\n"
            for number in range(first, first + count)
        )

    return make


@pytest.fixture(scope="session")
def fill_outbox() -> Callable[[Path, Sequence[bytes], int], None]:
    """A function: adds rows of lines, the first of which is number `first`, to a ledger's outbox."""

    def fill(ledger: Path, rows: Sequence[bytes], first: int = 1) -> None:
        with closing(sqlite3.connect(ledger)) as db, db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS outbox(first INTEGER PRIMARY KEY, count INTEGER, data BLOB)")
            db.execute("CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, text TEXT, number INTEGER)")
            for lines in rows:
                count = lines.count(b"\n")
                db.execute(
                    "INSERT INTO outbox VALUES (?, ?, ?)",
                    (first, count, zstandard.ZstdCompressor().compress(lines)),
                )
                first += count

    return fill


@pytest.fixture(scope="session")
def design() -> Any:
    """Cases of the rule language, each with the real engines' answers."""
    folder = os.environ.get("HIDS_DESIGN")
    if not folder:
        pytest.skip("HIDS_DESIGN is not set to the folder that holds rule-language-cases.json")
    return json.loads((Path(folder) / "rule-language-cases.json").read_text())
