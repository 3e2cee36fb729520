"""A database and a search engine are away while alerts come, and hang, and come back: each alert is there once, and nobody waited."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import servers
from osmem_server import resolve_binary
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(180)]

ALERTS = 600
PASSWORD = "s3cret"


@contextmanager
def search_engine(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    argv = [resolve_binary(), "--addr", f"127.0.0.1:{port}", "--no-ja", "--no-stdin-watch"]
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(argv, **silent)
    try:
        servers.answers(port, process)
        yield process
    finally:
        process.kill()
        process.wait(10)


def found(port: int) -> list[str]:
    """Ids of all documents."""
    _ask(port, "_refresh")
    answer = _ask(port, "_search", json.dumps({"size": 10_000, "_source": ["event.id"]}))
    return [hit["_source"]["event"]["id"] for hit in answer["hits"]["hits"]]


def _ask(port: int, what: str, body: str = "") -> Any:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", f"/hids-alerts-*/{what}", body, {"Content-Type": "application/json"})
        return json.load(connection.getresponse())


def test_away_under_load_and_back(stand: Stand):
    if servers.program("postgres", servers.POSTGRES_BIN) is None:
        pytest.skip("PostgreSQL's server is not installed")
    port = servers.free_port()
    secret = stand.folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    lite = stand.folder / "lite.db"
    with servers.postgresql(PASSWORD) as database:
        stand.settings = (
            "[workers]\ncount = 1\n"
            f'[[output]]\ntype = "opensearch"\nurls = ["http://127.0.0.1:{port}"]\ntimeout_s = 1.0\nbatch = 50\n'
            f'[[output]]\ntype = "sql"\nname = "pg"\nurl = "postgresql://hids@127.0.0.1:{database.port}/hids"\n'
            f'password_file = "{secret}"\ntimeout_s = 3.0\nbatch = 50\n'
            f'[[output]]\ntype = "sql"\nname = "lite"\nurl = "sqlite:///{lite}"\n'
        )
        log = stand.folder / "auth.log"
        log.touch()
        stand.start_manager()
        stand.join("web1")
        stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
        wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")

        def attack(first: int) -> None:
            with log.open("a") as file:
                file.writelines(failed_login(f"u{n}", f"192.0.2.{n % 250}") for n in range(first, first + ALERTS // 3))
            wait_for(lambda: stand.ask("agents")[0]["committed"] >= first + ALERTS // 3, "lines are committed")

        attack(0)  # nobody listens where the search engine will be
        wait_for(lambda: failing(stand, "opensearch:opensearch"), "it is said that the search engine is away")
        database.kill()
        attack(ALERTS // 3)
        with search_engine(port) as engine:
            wait_for(lambda: not failing(stand, "opensearch:opensearch"), "the search engine has what it missed")
            os.kill(engine.pid, signal.SIGSTOP)  # takes connections and says nothing
            attack(2 * ALERTS // 3)
            wait_for(lambda: failing(stand, "opensearch:opensearch"), "it is said that the search engine hangs")
            wait_for(lambda: failing(stand, "sql:pg"), "it is said that the database is away")
            total = len(wait_for(lambda: everything(stand), "alerts.json has all; it waited for nobody"))
            wait_for(lambda: count_lite(lite) == total, "SQLite has all; it waited for nobody")
            os.kill(engine.pid, signal.SIGCONT)
            database.start()
            ids = sorted(alert["id"] for alert in stand.alerts())
            wait_for(lambda: lag(stand) == 0, "everybody has all")
            assert sorted(found(port)) == ids
            assert sorted(in_postgres(database.port)) == ids
            with closing(sqlite3.connect(lite)) as db:
                assert sorted(row[0] for row in db.execute("SELECT id FROM hids_alerts")) == ids


def everything(stand: Stand) -> list[str]:
    ids = [alert["id"] for alert in stand.alerts()]
    single = [alert for alert in stand.alerts() if alert["rule"]["id"] == "201210"]
    return ids if len(single) >= ALERTS * 9 // 10 and stand.nodes()["alerts.json"]["facts"]["lag"] == 0 else []


def failing(stand: Stand, output: str) -> bool:
    return bool(stand.nodes()[output]["facts"]["failing"])


def lag(stand: Stand) -> int:
    nodes = stand.nodes()
    return sum(
        int(nodes[name]["facts"]["lag"]) for name in ("opensearch:opensearch", "sql:pg", "sql:lite", "alerts.json")
    )


def count_lite(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM hids_alerts").fetchone()[0])


def in_postgres(port: int) -> list[str]:
    import pg8000.dbapi  # noqa: PLC0415 - only where there is a server

    with closing(pg8000.dbapi.connect("hids", "127.0.0.1", "hids", port, PASSWORD)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM hids_alerts")
        return [row[0] for row in cursor.fetchall()]
