"""`hidsctl maintenance`: say that somebody works on some agents, so that what is to be expected is no alert."""

import datetime
import time
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.adapters.baselines import Baselines
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.errors import StoreError
from hids.messages.baseline import Maintenance

app = typer.Typer(no_args_is_help=True, help="Announce work on agents' files, with an owner, a reason and an end.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]

DONE_S = 15.0
"""How long to wait until the lane has it."""
LOOK_S = 0.05


@app.command()
def start(
    ctx: typer.Context,
    *,
    reason: Annotated[str, typer.Option(help="What is being done.")],
    minutes: Annotated[int, typer.Option(min=1, max=44_640, help="It ends by itself after so long.")] = 60,
    agent: Annotated[list[str] | None, typer.Option(help="Id or name; may be repeated.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="All that are in it now; may be repeated.")] = None,
    owner: Annotated[str, typer.Option(help="Who works; default: you.")] = "",
    json: Json = False,
) -> None:
    """Begin a maintenance.

    Until it ends, changes of what belongs to a package, and may change or has the package's content, are recorded at a low
    level with the owner's name. What no package explains is an alert as ever, which says who is at work.

    \b
    Examples:
      hidsctl maintenance start --agent web1 --minutes 30 --reason "new nginx configuration"
      hidsctl maintenance start --group web --owner alice --reason "migration to 2.4"
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    row = settings.ask(
        "maintenance_start", agents=agent or [], groups=group or [], owner=owner, minutes=minutes, reason=reason
    )
    _await(settings, row["id"], ended=False)
    settings.show(
        row,
        lambda row: typer.echo(f"{row['id'][:8]}: until {_when(row['end_ms'])} on {plain(row['scope'])}"),
        json=json,
    )


@app.command()
def status(
    ctx: typer.Context,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    json: Json = False,
) -> None:
    """Show what goes on; ends with 1 when nothing does."""
    settings: Settings = ctx.obj
    rows = [msgspec.to_builtins(each) for each in _kept(settings) if all_ or not each.ended_ms]
    settings.show(rows, _print_table, json=json)
    if not rows:
        raise typer.Exit(REFUSED)


@app.command()
def end(
    ctx: typer.Context,
    which: Annotated[str, typer.Argument(help="As `status` shows it; default: the only one that goes on.")] = "",
    *,
    agent: Annotated[str, typer.Option(help="All that go on at this agent (id).")] = "",
    json: Json = False,
) -> None:
    """End a maintenance before its time.

    \b
    Examples:
      hidsctl maintenance end
      hidsctl maintenance end 3f9a2c1e
      hidsctl maintenance end --agent 007
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    going_on = [each for each in _kept(settings) if not each.ended_ms]
    meant = [each for each in going_on if each.id.startswith(which) and (not agent or agent in each.agents)]
    if not meant:
        fail("no such maintenance goes on; see `hidsctl maintenance status`", REFUSED)
    if len(meant) > 1 and not agent:
        fail(f"{len(meant)} go on; say which, see `hidsctl maintenance status`", REFUSED)
    for each in meant:
        settings.ask("maintenance_end", maintenance=msgspec.to_builtins(each))
        _await(settings, each.id, ended=True)
    rows = [{"id": each.id, "scope": each.scope, "owner": each.owner} for each in meant]
    settings.show(rows, lambda rows: typer.echo("ended: " + "; ".join(plain(row["scope"]) for row in rows)), json=json)


def _kept(settings: Settings) -> list[Maintenance]:
    try:
        return Baselines(settings.paths.ledger).maintenances()
    except StoreError as error:
        fail(str(error), NO_MANAGER)


def _await(settings: Settings, which: str, *, ended: bool) -> None:
    """See that it is on disk."""
    deadline = time.monotonic() + DONE_S
    while not any(each.id == which and bool(each.ended_ms) == ended for each in _kept(settings)):
        if time.monotonic() > deadline:
            fail(f"not done within {DONE_S:g} s: the manager is busy or its lane restarts; repeat it", REFUSED)
        time.sleep(LOOK_S)


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("no maintenance goes on")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "on", "owner", "from", "until", "reason"):
        table.add_column(heading)
    for row in rows:
        cells = (row["id"][:8], row["scope"], row["owner"], _when(row["start_ms"]))
        until = (_when(row.get("ended_ms") or row["end_ms"]), row["reason"])
        table.add_row(*(Text(plain(cell)) for cell in (*cells, *until)))
    Console().print(table)


def _when(at_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
