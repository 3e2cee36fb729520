"""SQL, in every database that the machine has: SQLite always, PostgreSQL and MariaDB where their servers are installed."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import servers
import sqlalchemy as sa
from certificates import certificate

from hids.adapters.outputs.sql import SqlDestination, _engine
from hids.adapters.outputs.tables import VERSION, alerts, metadata, ossec_views, schema
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Sql

PASSWORD = "s3c:r@t/"


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sql") / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The servers' certificate and key."""
    return certificate(tmp_path_factory.mktemp("pem"))


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.slow),
        pytest.param("mariadb", marks=pytest.mark.slow),
    ],
)
def database(
    request: pytest.FixtureRequest, secret: Path, pem: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sql, servers.Server | None]]:
    """How an output reaches it, and the server, if it is one."""
    if request.param == "sqlite":
        yield Sql(url=f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/alerts.db", ossec_views=True), None
        return
    if request.param == "postgresql":
        if servers.program("postgres", servers.POSTGRES_BIN) is None:
            pytest.skip("PostgreSQL's server is not installed")
        serving = servers.postgresql(PASSWORD, pem)
    else:
        if servers.program("mariadbd", "usr/sbin") is None:
            pytest.skip("MariaDB's server is not installed")
        serving = servers.mariadb(PASSWORD, pem)
    with serving as server:
        scheme = "mysql" if request.param == "mariadb" else request.param
        url = f"{scheme}://hids@127.0.0.1:{server.port}/hids"
        yield Sql(url=url, password_file=str(secret), ossec_views=True, timeout_s=20), server


@pytest.fixture
def output(database: tuple[Sql, servers.Server | None]) -> Sql:
    """With no rows in it."""
    output = database[0]
    with connected(output) as connection:
        if sa.inspect(connection).has_table("hids_alerts"):
            for table in metadata.tables.values():
                if table is not schema:
                    connection.execute(table.delete())
    return output


@contextmanager
def connected(output: Sql) -> Iterator[sa.Connection]:
    """A connection whose work is committed at the end."""
    engine = _engine(output, PASSWORD if output.password_file else "")
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def rows(output: Sql, what: str) -> list[dict[str, Any]]:
    with connected(output) as connection:
        return [dict(row) for row in connection.execute(sa.text(what)).mappings()]


def post(output: Sql, *deliveries: Delivery) -> None:
    async def go() -> None:
        destination = SqlDestination(output)
        try:
            for delivery in deliveries:
                await destination.post(delivery)
        finally:
            await destination.close()

    asyncio.run(go())


@pytest.fixture
def deliver(make_lines: Callable[..., bytes]) -> Callable[..., Delivery]:
    def make(first: int, count: int = 1, **members: Any) -> Delivery:
        lines = make_lines(first, count, **members).split(b"\n")[:-1]
        return Delivery(first, first + count - 1, tuple(lines))

    return make


def test_alerts_are_there_with_their_rules(output: Sql, deliver: Callable[..., Delivery]):
    post(output, deliver(1, 30))
    found = rows(
        output,
        "SELECT a.id, a.level, a.srcip, a.happened_at, a.alert FROM hids_alerts a "
        "JOIN hids_rule_tags t ON t.rule_key = a.rule_key JOIN hids_locations l ON l.location_key = a.location_key "
        "WHERE t.kind = 'group' AND t.value = 'authentication_failed' AND l.agent_name = 'web1' ORDER BY a.number",
    )
    assert [row["id"] for row in found] == [f"007-1-{number}" for number in range(1, 31)]
    assert found[0]["srcip"] == "192.0.2.7"
    assert str(found[0]["happened_at"]).startswith("2026-11-24 03:21:43.123")
    assert json.loads(found[0]["alert"])["full_log"].startswith("Nov 24")


def test_what_comes_again_is_there_once(output: Sql, deliver: Callable[..., Delivery]):
    twice = deliver(1, 5)
    post(output, twice, deliver(1, 10), Delivery(1, 10, twice.alerts + twice.alerts))
    assert [row["n"] for row in rows(output, "SELECT count(*) AS n FROM hids_alerts")] == [10]
    assert [row["n"] for row in rows(output, "SELECT count(*) AS n FROM hids_rules")] == [1]


def test_hostile_texts_are_stored(output: Sql, deliver: Callable[..., Delivery]):
    hostile = "'; DROP TABLE hids_alerts; -- %s :id \\ \x00 \u202e 🦊 " + "x" * 70_000
    post(
        output, deliver(1, full_log=hostile, location=hostile, data={"srcip": hostile, "srcport": "-", "url": hostile})
    )
    (row,) = rows(output, "SELECT srcip, full_log, location, srcport, alert FROM hids_alerts")
    assert row["full_log"].startswith("'; DROP TABLE hids_alerts; -- %s :id \\ \ufffd \u202e 🦊 xx")
    assert len(row["srcip"]) == 255
    assert row["srcport"] is None
    assert json.loads(row["alert"])["full_log"] == hostile


def test_names_that_differ_in_case_are_different(output: Sql, deliver: Callable[..., Delivery]):
    post(output, deliver(1, id="a"), deliver(2, id="A"))
    assert len(rows(output, "SELECT id FROM hids_alerts")) == 2


def test_what_is_no_alert_is_hopeless_and_the_rest_is_taken(output: Sql, deliver: Callable[..., Delivery]):
    with pytest.raises(Refused) as refused:
        post(output, Delivery(1, 3, (b"{", *deliver(1).alerts, b"{}")))
    assert refused.value.taken == {1}
    assert refused.value.hopeless.keys() == {0, 2}
    assert len(rows(output, "SELECT id FROM hids_alerts")) == 1


def test_a_row_that_the_database_refuses_is_hopeless(output: Sql, deliver: Callable[..., Delivery]):
    trigger = {
        "sqlite": "CREATE TRIGGER no7 BEFORE INSERT ON hids_alerts WHEN new.number = 7 BEGIN SELECT RAISE(ABORT, 'no 7'); END",
        "postgresql": "ALTER TABLE hids_alerts ADD CONSTRAINT no7 CHECK (number <> 7)",
        "mysql": "CREATE TRIGGER no7 BEFORE INSERT ON hids_alerts FOR EACH ROW IF new.number = 7 THEN "
        "SIGNAL SQLSTATE '23000' SET MESSAGE_TEXT = 'no 7', MYSQL_ERRNO = 1048; END IF",
    }
    remove = {"postgresql": "ALTER TABLE hids_alerts DROP CONSTRAINT no7"}
    dialect = output.url.partition(":")[0]
    post(output, deliver(1))
    with connected(output) as connection:
        connection.exec_driver_sql(trigger[dialect])
    try:
        with pytest.raises(Refused) as refused:
            post(output, deliver(5, 5))
        assert refused.value.taken == {0, 1, 3, 4}
        assert refused.value.hopeless.keys() == {2}
        assert "no 7" in refused.value.hopeless[2] or "no7" in refused.value.hopeless[2]
        assert len(rows(output, "SELECT id FROM hids_alerts")) == 5
    finally:
        with connected(output) as connection:
            connection.exec_driver_sql(remove.get(dialect, "DROP TRIGGER no7"))


def test_views_of_ossec(output: Sql, deliver: Callable[..., Delivery]):
    post(output, deliver(1, 2))
    (joined,) = rows(
        output,
        "SELECT a.rule_id, a.level, a.timestamp, a.src_ip, l.name AS place, s.hostname, g.description, c.cat_name "
        "FROM alert a JOIN location l ON l.id = a.location_id JOIN server s ON s.id = a.server_id "
        "JOIN signature g ON g.rule_id = a.rule_id JOIN signature_category_mapping m ON m.id = g.id "
        "JOIN category c ON c.cat_id = m.cat_id WHERE a.id = 1 AND c.cat_name = 'syslog'",
    )
    assert (joined["rule_id"], joined["level"], int(joined["timestamp"])) == ("200110", 5, 1795490503)
    assert (joined["place"], joined["hostname"]) == ("/var/log/auth.log", "boss")
    for name in ossec_views():
        assert rows(output, f"SELECT * FROM {name}")  # noqa: S608 - names of ours


def test_a_server_that_is_killed_and_comes_back(
    database: tuple[Sql, servers.Server | None], output: Sql, deliver: Callable[..., Delivery]
):
    server = database[1]
    if server is None:
        pytest.skip("SQLite has no server")

    async def go() -> None:
        destination = SqlDestination(output)
        await destination.post(deliver(1, 5))
        server.kill()
        try:
            for _ in range(2):
                with pytest.raises(Refused) as refused:
                    await destination.post(deliver(6, 5))
                assert PASSWORD not in str(refused.value)
        finally:
            server.start()
        await destination.post(deliver(6, 5))
        await destination.close()

    asyncio.run(go())
    assert len(rows(output, "SELECT id FROM hids_alerts")) == 10


def test_tables_of_another_version_are_left_alone(output: Sql, deliver: Callable[..., Delivery]):
    post(output, deliver(1))
    with connected(output) as connection:
        connection.execute(schema.update().values(version=VERSION + 1))
    try:
        with pytest.raises(Refused, match=f"expected tables of version {VERSION}, got {VERSION + 1}"):
            post(output, deliver(2))
    finally:
        with connected(output) as connection:
            connection.execute(schema.update().values(version=VERSION))
    assert len(rows(output, "SELECT id FROM hids_alerts")) == 1


def test_a_wrong_password(
    database: tuple[Sql, servers.Server | None], tmp_path: Path, deliver: Callable[..., Delivery]
):
    if database[1] is None:
        pytest.skip("SQLite has no passwords")
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    wrong.chmod(0o600)
    with pytest.raises(Refused) as refused:
        post(Sql(url=database[0].url, password_file=str(wrong)), deliver(1))
    assert "guess" not in str(refused.value)


def test_tables_of_an_ossec_are_not_overwritten(tmp_path: Path, deliver: Callable[..., Delivery]):
    output = Sql(url=f"sqlite:///{tmp_path}/old.db", ossec_views=True)
    with connected(output) as connection:
        connection.exec_driver_sql("CREATE TABLE alert(id INTEGER)")
    with pytest.raises(Refused, match="of an OSSEC"):
        post(output, deliver(1))


def test_a_driver_that_is_not_there(deliver: Callable[..., Delivery]):
    with pytest.raises(Refused, match=r"pip install 'hids\[sql\]'"):
        post(Sql(url="postgresql+psycopg2://hids@127.0.0.1/hids"), deliver(1))


def test_a_column_for_each_of_the_table_of_fields():
    assert {"id", "happened_at", "level", "srcip", "full_log", "alert"} <= set(alerts.c.keys())


def test_over_tls_the_server_must_show_a_certificate_that_is_trusted(
    database: tuple[Sql, servers.Server | None],
    output: Sql,
    secret: Path,
    pem: Path,
    tmp_path: Path,
    deliver: Callable[..., Delivery],
):
    if database[1] is None:
        pytest.skip("SQLite has no server")
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")
    post(Sql(url=output.url, password_file=str(secret), ca_file=str(pem)), deliver(1))
    with pytest.raises(Refused, match="(?i)certificate"):
        post(Sql(url=output.url, password_file=str(secret), ca_file=str(other)), deliver(2))
    assert [row["id"] for row in rows(output, "SELECT id FROM hids_alerts")] == ["007-1-1"]
