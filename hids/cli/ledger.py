"""`hidsctl ledger`: the proof that every line is accounted for."""

import datetime
from collections import defaultdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.adapters.clock import SystemClock
from hids.adapters.ledger import HOUR_MS
from hids.adapters.proof import Account, Proof
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.cli.times import moment
from hids.core.alert.text import plain
from hids.core.proof import Interval
from hids.errors import StoreError

app = typer.Typer(no_args_is_help=True, help="Account for every line that was read.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Since = Annotated[
    str | None,
    typer.Option(
        help="From the hour of this time on: 2h, 3d, or 2026-11-24T03:21. Default: all that is kept, 30 days."
    ),
]


@app.command()
def show(
    ctx: typer.Context,
    *,
    since: Since = None,
    source: Annotated[str, typer.Option(help="Of this source only, such as agent/007.")] = "",
    hours: Annotated[bool, typer.Option("--hours", help="One row an hour instead of one a source.")] = False,
    json: Json = False,
) -> None:
    """Show for each source how many lines were delivered, and what became of them.

    \b
    Examples:
      hidsctl ledger show --since 24h
      hidsctl ledger show --source agent/007 --hours
      hidsctl ledger show --json | jq '.[] | select(.lost > 0)'

    Columns: delivered = evaluated + known + dropped + lost. "known" are lines that came again in a new epoch of the agent
    and were not evaluated twice; "lost" are holes: lines that never came, each of which was an alert.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    account = _account(settings, since)
    rows = [row for row in _rows(account, by_hour=hours) if source in ("", row["source"])]
    settings.show(rows, lambda rows: _print(rows, by_hour=hours), json=json)


@app.command()
def verify(ctx: typer.Context, *, since: Since = None, json: Json = False) -> None:
    """Check that every line of every source is accounted for.

    \b
    Examples:
      hidsctl ledger verify --since 24h
      hidsctl ledger verify --json || notify-the-boss

    Exit status: 0 it balances, 1 it does not, 3 there is no ledger to read.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    account = _account(settings, since)
    gaps = account.gaps()
    answer = {
        "balances": not gaps,
        "sources": len({interval.source for interval in account.intervals}),
        "lines": sum(interval.lines for interval in account.intervals),
        "lost": sum(interval.counts.get("lost", 0) for interval in account.intervals),
        "gaps": [
            {"source": gap.source, "epoch": gap.epoch, "first": gap.first, "last": gap.last, "what": gap.text}
            for gap in gaps
        ],
    }
    settings.show(answer, _print_verdict, json=json)
    if gaps:
        raise typer.Exit(REFUSED)


def _account(settings: Settings, since: str | None) -> Account:
    since_ms = moment(since, "--since", SystemClock().now_ms()) or 0
    try:
        return Proof(settings.paths.ledger).account(since_ms)
    except StoreError as error:
        fail(str(error), NO_MANAGER)


def _rows(account: Account, *, by_hour: bool) -> list[dict[str, Any]]:
    groups: dict[tuple[str, int], list[Interval]] = defaultdict(list)
    for interval in account.intervals:
        groups[interval.source, interval.hour if by_hour else 0].append(interval)
    return [
        {
            "source": source,
            **({"hour_ms": hour * HOUR_MS} if by_hour else {}),
            "delivered": sum(one.lines for one in group),
            **{what: sum(one.counts.get(what, 0) for one in group) for what in ("evaluated", "known", "lost")},
            "dropped": _dropped(group),
        }
        for (source, hour), group in groups.items()
    ]


def _dropped(group: list[Interval]) -> dict[str, int]:
    """By reason."""
    reasons: dict[str, int] = defaultdict(int)
    for one in group:
        for what, n in one.counts.items():
            if what.startswith("dropped:"):
                reasons[what.removeprefix("dropped:")] += n
    return dict(reasons)


def _print(rows: list[dict[str, Any]], *, by_hour: bool) -> None:
    if not rows:
        typer.echo("nothing was committed in that time")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("source", *(("hour",) if by_hour else ()), "delivered", "evaluated", "known", "dropped", "lost"):
        table.add_column(heading, justify="left" if heading in ("source", "hour", "dropped") else "right")
    for row in rows:
        dropped = ", ".join(f"{n} {reason}" for reason, n in row["dropped"].items())
        cells = [
            Text(plain(row["source"])),
            *((f"{datetime.datetime.fromtimestamp(row['hour_ms'] / 1000):%m-%d %H:%M}",) if by_hour else ()),  # noqa: DTZ006 - local, as people read it
            *(str(row[what]) for what in ("delivered", "evaluated", "known")),
            Text(plain(dropped), style="yellow"),
            Text(str(row["lost"]), style="bold red" if row["lost"] else ""),
        ]
        table.add_row(*cells)
    Console().print(table)


def _print_verdict(answer: dict[str, Any]) -> None:
    for gap in answer["gaps"]:
        where = f"{gap['source']}, epoch {gap['epoch']}, lines {gap['first']} to {gap['last']}"
        typer.echo(plain(f"{where}: {gap['what']}"))
    if answer["balances"]:
        lost = f", {answer['lost']} of them lost" if answer["lost"] else ""
        typer.echo(f"balances: {answer['lines']} lines of {answer['sources']} sources{lost}")
    else:
        typer.echo(f"does not balance in {len(answer['gaps'])} places", err=True)
