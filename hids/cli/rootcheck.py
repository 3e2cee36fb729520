"""`hidsctl rootcheck`: what agents' rootcheck found, what is still there, and when they last looked."""

import csv
import sys
from datetime import datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.adapters.findings import FindingRow, FindingsReader, ScanRow
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.errors import StoreError

app = typer.Typer(no_args_is_help=True, help="What rootcheck found on the agents, and what is still there.")

AgentOption = Annotated[str | None, typer.Option(metavar="AGENT", help="Of this agent only: id or name.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Answer in CSV, with a head line.")]


@app.command("list")
def list_(ctx: typer.Context, *, agent: AgentOption = None, json: Json = False, csv: Csv = False) -> None:
    """List all findings, outstanding and resolved.

    \b
    Examples:
      hidsctl rootcheck list --agent web1
      hidsctl rootcheck list --json | jq -r '.[].text'

    Exit status: 0 there are some, 1 there are none, 3 no agent has told of a scan yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    _show_findings(ctx, agent, ("outstanding", "resolved"), json=json, as_csv=csv)


@app.command()
def outstanding(ctx: typer.Context, *, agent: AgentOption = None, json: Json = False, csv: Csv = False) -> None:
    """List what is there still, as of the last scan of each agent.

    \b
    Examples:
      hidsctl rootcheck outstanding
      hidsctl rootcheck outstanding --agent 007 --csv

    Exit status: 0 there is something, 1 there is nothing, 3 no agent has told of a scan yet.
    """  # noqa: D301
    _show_findings(ctx, agent, ("outstanding",), json=json, as_csv=csv)


@app.command()
def resolved(ctx: typer.Context, *, agent: AgentOption = None, json: Json = False, csv: Csv = False) -> None:
    """List what was there once, and was not found by the last scan.

    \b
    Example:
      hidsctl rootcheck resolved --agent web1

    Exit status: 0 there is something, 1 there is nothing, 3 no agent has told of a scan yet.
    """  # noqa: D301
    _show_findings(ctx, agent, ("resolved",), json=json, as_csv=csv)


@app.command()
def last(ctx: typer.Context, *, agent: AgentOption = None, json: Json = False, csv: Csv = False) -> None:
    """Show when each agent last scanned, and how much is outstanding.

    \b
    Example:
      hidsctl rootcheck last --json

    Exit status: 0 shown, 1 there is none, 3 no agent has told of a scan yet.
    """  # noqa: D301
    settings: Settings = ctx.obj
    try:
        rows = FindingsReader(settings.paths.rootcheck).scans(agent)
    except StoreError as error:
        _fail(error)
    _show(settings, [row._asdict() for row in rows], lambda: _print_scans(rows), json=json, as_csv=csv)


@app.command()
def clear(
    ctx: typer.Context,
    *,
    agent: AgentOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Of all agents.")] = False,
    json: Json = False,
) -> None:
    """Forget findings. What is there comes back with the next scan, without an alert from agents of hids.

    \b
    Examples:
      hidsctl rootcheck clear --agent web1
      hidsctl rootcheck clear --all

    Exit status: 0 done, 2 neither --agent nor --all, 3 no agent has told of a scan yet.
    """  # noqa: D301
    settings: Settings = ctx.obj
    if (agent is None) is not all_:
        fail("say whose findings: --agent AGENT, or --all", 2)
    try:
        count = FindingsReader(settings.paths.rootcheck).clear(agent)
    except StoreError as error:
        _fail(error)
    settings.show({"cleared": count}, lambda answer: typer.echo(f"{answer['cleared']} findings forgotten"), json=json)


def _show_findings(
    ctx: typer.Context,
    agent: str | None,
    wanted: tuple[str, ...],
    *,
    json: bool,
    as_csv: bool,
) -> None:
    settings: Settings = ctx.obj
    try:
        rows = FindingsReader(settings.paths.rootcheck).findings(agent)
    except StoreError as error:
        _fail(error)
    rows = [row for row in rows if _state(row) in wanted]
    _show(settings, [row._asdict() for row in rows], lambda: _print_findings(rows), json=json, as_csv=as_csv)


def _show(settings: Settings, rows: list[dict[str, Any]], human: Any, *, json: bool, as_csv: bool) -> None:
    if as_csv:
        _print_csv(rows)
    else:
        settings.show(rows, lambda _: human(), json=json)
    if not rows:
        raise typer.Exit(REFUSED)


def _print_csv(rows: list[dict[str, Any]]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: object) -> object:
    """A text in a table: nothing that a terminal obeys, nor what a spreadsheet would take for a formula."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _print_findings(rows: list[FindingRow]) -> None:
    for row in rows:
        typer.echo(
            f"{plain(row.name)} ({row.agent})  {_state(row)}  first {_when(row.first_ms)}  last {_when(row.last_ms)}"
        )
        typer.echo(f"    {plain(row.text)}")


def _state(row: FindingRow) -> str:
    return "outstanding" if row.outstanding else "resolved"


def _print_scans(rows: list[ScanRow]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("agent", "last scan", "until", "outstanding", "resolved", "excepted", "not finished"):
        table.add_column(name)
    for row in rows:
        cells = (
            f"{plain(row.name)} ({row.agent})",
            _when(row.started_ms),
            _when(row.ended_ms),
            *(str(number) for number in (row.outstanding, row.resolved, row.excepted)),
            plain(row.unfinished),
        )
        table.add_row(*map(Text, cells))
    Console().print(table)


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}" if at_ms else "never"


def _fail(error: StoreError) -> NoReturn:
    fail(str(error), NO_MANAGER)
