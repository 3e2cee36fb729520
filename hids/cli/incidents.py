"""`hidsctl incidents`: what goes on, each told once however many alerts it gives."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn, Protocol

import msgspec
import typer

from hids.adapters.clock import SystemClock
from hids.adapters.search import IncidentRow, Search
from hids.cli.alerts import NO_INDEX, NOT_FOUND, show_human, show_json
from hids.cli.times import moment
from hids.core.alert.text import plain
from hids.errors import StoreError

app = typer.Typer(no_args_is_help=True, help="What goes on: alerts about one address, user or host, put together.")

JsonOption = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]


class Settings(Protocol):
    """What the command line before the noun has settled; in `ctx.obj`."""

    search_db: Path
    json: bool


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    since: Annotated[
        str, typer.Option(help="That went on since: 10m, 2h, 3d, or 2026-11-24T03:21 (local unless it has a zone).")
    ] = "1d",
    level: Annotated[int, typer.Option(metavar="0-16", min=0, max=16, help="That reached this level.")] = 0,
    agent: Annotated[str | None, typer.Option(metavar="AGENT", help="Seen on this agent: id or name.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="The latest so many.")] = 50,
    json: JsonOption = False,
) -> None:
    """List incidents, the latest at the bottom.

    \b
    Examples:
      hidsctl incidents list --since 2h --level 10
      hidsctl incidents list --agent web1 --json | jq .key

    Exit code: 0 found, 1 none found, 2 wrong usage, 3 no index yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    since_ms = moment(since, "--since", SystemClock().now_ms()) or 0
    try:
        rows = Search(settings.search_db).incidents(since_ms=since_ms, level_min=level, agent=agent, limit=limit)
    except StoreError as error:
        _fail(error)
    for row in reversed(rows):
        typer.echo(_json(row) if json or settings.json else _line(row))
    if not rows:
        raise typer.Exit(NOT_FOUND)


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it, or an alert's hids.incident.id.")],
    *,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Its first so many alerts.")] = 50,
    json: JsonOption = False,
) -> None:
    """Show one incident and its alerts.

    \b
    Examples:
      hidsctl incidents show 007-1-42
      hidsctl incidents show 007-1-42 --json

    With --json the first line is the incident, the others are alerts as in alerts.json.
    Exit code: 0 found, 1 there is none of this id, 2 wrong usage, 3 no index yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    as_json = json or settings.json
    try:
        search = Search(settings.search_db)
        row = search.incident(name)
        if row is None:
            typer.echo(f"hidsctl: no incident {plain(name)}; `hidsctl incidents list` names them", err=True)
            raise typer.Exit(NOT_FOUND)
        typer.echo(_json(row) if as_json else _line(row))
        show_alert = show_json if as_json else show_human()
        for _, line in search.alerts_of(row.id, limit):
            show_alert(line)
    except StoreError as error:
        _fail(error)


def _json(row: IncidentRow) -> str:
    return msgspec.json.encode(row).decode()


def _line(row: IncidentRow) -> str:
    """One line for people. All that came from outside is escaped."""
    about = " ".join(f"{plain(name)}={plain(value)}" for name, value in row.key.items()) or "all events together"
    agents = ", ".join(map(plain, row.agents[:5])) + (f" and {len(row.agents) - 5} more" if len(row.agents) > 5 else "")  # noqa: PLR2004
    alerts = "1 alert" if row.count == 1 else f"{row.count} alerts"
    return (
        f"{plain(row.id)}  level {row.level:>2}  {_when(row.first_ms)} to {_when(row.last_ms)}  {alerts}  {about}\n"
        f"    agents {agents}  rules {', '.join(map(str, row.rules))}"
    )


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"


def _fail(error: StoreError) -> NoReturn:
    typer.echo(f"hidsctl: {plain(str(error))}", err=True)
    raise typer.Exit(NO_INDEX) from error
