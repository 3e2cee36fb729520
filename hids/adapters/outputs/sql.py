"""SQL: alerts in a database, each once, a delivery in one transaction.

    SQLite, PostgreSQL, MySQL and MariaDB, through SQLAlchemy; the tables are hids.adapters.outputs.tables.

A row that is there already stays as it is, so a transaction whose answer got lost is simply done again. When the database
refuses the values of a row, the rows go one by one, and that one becomes a dead letter.
"""

import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from hids.adapters.outputs.blocking import Blocking
from hids.adapters.outputs.publishing import in_a_line
from hids.adapters.outputs.secrets import secret_of
from hids.adapters.outputs.tables import (
    VERSION,
    alerts,
    locations,
    metadata,
    ossec_views,
    rule_tags,
    rules,
    schema,
)
from hids.core.alert.row import Rows, rows_of
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Sql
from hids.errors import StoreError

log = structlog.get_logger()

DRIVERS = {"postgresql": "postgresql+pg8000", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
"""Which driver is meant where the URL names none."""

_VALUES_REFUSED = ("22", "23")
"""Classes of SQLSTATE that are about a row's values: data exception, integrity constraint."""


class SqlDestination:
    """Inserts deliveries. For one event loop; the database is spoken to on a thread."""

    def __init__(self, output: Sql) -> None:
        self._output = output
        self._thread = Blocking(output.output)
        self._engine: sa.Engine | None = None
        self._secret = ""

    async def post(self, delivery: Delivery) -> None:
        """Make one try.

        Raises:
            Refused: the database did not take all; what it took, and what it never will, is told.
        """
        await self._thread.run(lambda: self._write(delivery.alerts), self._output.timeout_s)

    async def close(self) -> None:
        """Close what is open."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose(close=not self._thread.busy)  # what hangs still uses its connection

    def _write(self, lines: tuple[bytes, ...]) -> None:
        hopeless: dict[int, str] = {}
        made: dict[int, Rows] = {}
        for place, line in enumerate(lines):
            try:
                made[place] = rows_of(line)
            except ValueError as error:
                hopeless[place] = str(error)
        try:
            engine = self._open()
            try:
                _insert(engine, made.values())
            except DBAPIError as error:
                if not _values_refused(error):
                    raise
                hopeless |= _insert_singly(engine, made)
        except (SQLAlchemyError, OSError, ssl.SSLError, StoreError) as error:
            raise Refused(_without_statement(error)) from error
        if hopeless:
            taken = frozenset(made.keys() - hopeless.keys())
            raise Refused(next(iter(hopeless.values())), taken=taken, hopeless=hopeless)

    def _open(self) -> sa.Engine:
        """The engine, whose tables are there. A new password makes a new one."""
        secret = secret_of(self._output.password_file)
        if self._engine is None or secret != self._secret:
            if self._engine is not None:
                self._engine.dispose()
            self._engine, self._secret = None, secret
            engine = _engine(self._output, secret)
            try:
                _set_up(engine, views=self._output.ossec_views)
            except BaseException:
                engine.dispose()
                raise
            self._engine = engine
        return self._engine


def _engine(output: Sql, secret: str) -> sa.Engine:
    url = sa.make_url(output.url)
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    if secret:
        url = url.set(password=secret)
    timeout_s = output.timeout_s
    match url.get_driver_name():
        case "pg8000":
            arguments: dict[str, Any] = {"timeout": timeout_s}
            if output.ca_file:
                arguments["ssl_context"] = ssl.create_default_context(cafile=output.ca_file)
        case "pymysql":
            arguments = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), max(1, round(timeout_s)))
            arguments["charset"] = "utf8mb4"
            if output.ca_file:
                arguments["ssl"] = ssl.create_default_context(cafile=output.ca_file)
        case "pysqlite":
            arguments = {"timeout": timeout_s / 2}
        case _:
            arguments = {}
    try:
        # A connection that broke meanwhile is made anew before it is used.
        return sa.create_engine(url, pool_pre_ping=True, connect_args=arguments)
    except ImportError as error:
        raise StoreError(f"{output.url}: its driver is not installed: {error}; pip install 'hids[sql]'") from error


def _set_up(engine: sa.Engine, *, views: bool) -> None:
    with engine.begin() as connection:
        metadata.create_all(connection)
        version = connection.scalar(sa.select(sa.func.max(schema.c.version)))
        if version is None:
            connection.execute(_new(connection, schema), [{"version": VERSION}])
        elif version != VERSION:
            raise StoreError(
                f"{engine.url.render_as_string()}: expected tables of version {VERSION}, got {version}; "
                "another hids has made them: use another database for this one"
            )
        if views:
            _make_views(connection)


def _make_views(connection: sa.Connection) -> None:
    there = set(sa.inspect(connection).get_table_names())
    for name, select in ossec_views().items():
        if name in there:
            raise StoreError(
                f"{name}: expected no table of this name, since ossec_views = true makes a view of it; is this the database "
                "of an OSSEC? Use another one"
            )
        quoted = connection.dialect.identifier_preparer.quote(name)
        text = select.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {quoted}")
        connection.exec_driver_sql(f"CREATE VIEW {quoted} AS {text}".replace("%", "%%"))


def _insert(engine: sa.Engine, made: Iterable[Rows]) -> None:
    made = list(made)
    if not made:
        return
    known = {rows.rule["rule_key"]: rows for rows in made}
    placed = {rows.location["location_key"]: rows.location for rows in made}
    with engine.begin() as connection:
        _add(connection, locations, list(placed.values()))
        _add(connection, rules, [rows.rule for rows in known.values()])
        _add(connection, rule_tags, [tag for rows in known.values() for tag in rows.tags])
        _add(connection, alerts, list({rows.alert["id"]: rows.alert for rows in made}.values()))


def _insert_singly(engine: sa.Engine, made: dict[int, Rows]) -> dict[int, str]:
    """Insert each in a transaction of its own; returns which are refused for what they hold, and why."""
    refused: dict[int, str] = {}
    for place, rows in made.items():
        try:
            _insert(engine, [rows])
        except DBAPIError as error:
            if not _values_refused(error):
                raise
            refused[place] = _without_statement(error)
    return refused


def _add(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert those that are not there, in order of their keys: two who insert at once shall not wait for each other."""
    keys = [column.name for column in table.primary_key]
    ordered = sorted(rows, key=lambda row: tuple(str(row[key]) for key in keys))
    if ordered:
        connection.execute(_new(connection, table), ordered)


def _new(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert that leaves alone what is there. MySQL's INSERT IGNORE would also bend values that do not fit."""
    name = connection.dialect.name
    if name in ("mysql", "mariadb"):
        first = next(iter(table.primary_key))
        return mysql.insert(table).on_duplicate_key_update({first.name: first})
    insert: Callable[[sa.Table], Any] = postgresql.insert if name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def _values_refused(error: DBAPIError) -> bool:
    if isinstance(error, DataError | IntegrityError):
        return True
    original: Any = error.orig
    state = getattr(original, "sqlstate", None)
    if state is None and original is not None and original.args and isinstance(original.args[0], dict):
        state = original.args[0].get("C")  # as pg8000 says it
    return isinstance(state, str) and state[:2] in _VALUES_REFUSED


def _without_statement(error: Exception) -> str:
    """The driver's words without the statement and its values, which may be megabytes."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return in_a_line(cause)
