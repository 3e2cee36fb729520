"""`hidsctl alerts`: find alerts in the search index, and follow new ones."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from hids.adapters.clock import SystemClock
from hids.adapters.search import Search
from hids.adapters.search_query import Query
from hids.cli.times import moment
from hids.core.alert.text import flat, plain
from hids.errors import StoreError

NOT_FOUND = 1
"""Exit code when no alert was found, as grep's."""

NO_INDEX = 3
"""Exit code when there is no index to ask, or none that can be read."""

POLL_S = 0.25
"""How often `--follow` looks whether the index has changed; a look costs some microseconds."""

_FOLLOW_BATCH = 1000

_REPLACED_S = 10.0
"""How long `--follow` waits for the new index when the one it reads is put aside."""

_LEVELS = ((12, "bold red"), (7, "yellow"), (0, "green"))
"""Colour from this level on: 12 is OSSEC's "high importance", 7 its default for mail."""

_alert = msgspec.json.Decoder(dict[str, Any])


class Settings(Protocol):
    """What the command line before the noun has settled; in `ctx.obj`."""

    search_db: Path
    json: bool


app = typer.Typer()


@app.callback(invoke_without_command=True)
def alerts(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(help="From this time on: 10m, 2h, 3d, or 2026-11-24T03:21 (local unless it has a zone)."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time; same forms.")] = None,
    level: Annotated[int, typer.Option(metavar="0-16", min=0, max=16, help="This level or higher.")] = 0,
    agent: Annotated[str | None, typer.Option(metavar="AGENT", help="Of this agent: id or name.")] = None,
    rule: Annotated[int | None, typer.Option(metavar="ID", min=0, max=2**31, help="Of this rule id.")] = None,
    group: Annotated[str | None, typer.Option(metavar="GROUP", help="Of a rule in this group.")] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help='With all these words; "words in quotes" stand together, a word* is a beginning.',
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="The newest so many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones as they come.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Alert lines as in alerts.json.")] = False,
) -> None:
    """Show alerts, the newest at the bottom.

    \b
    Examples:
      hidsctl alerts --since 2h --level 7
      hidsctl alerts --agent web1 --group authentication_failed
      hidsctl alerts --text "192.0.2.7 root" --limit 500
      hidsctl alerts -f --level 10
      hidsctl alerts --since 1d --json | jq -r .data.srcip
      hidsctl alerts compliance --framework pci_dss

    Exit code: 0 found, 1 none found, 2 wrong usage, 3 no index yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    if ctx.invoked_subcommand is not None:
        return
    settings: Settings = ctx.obj
    now_ms = SystemClock().now_ms()
    query = Query(
        since_ms=moment(since, "--since", now_ms),
        until_ms=moment(until, "--until", now_ms),
        level_min=level,
        agent=agent,
        rule=rule,
        group=group,
        text=text,
        limit=limit,
    )
    show = show_json if json or settings.json else _Blocks().show
    try:
        found = _print(settings.search_db, query, follow=follow, show=show)
    except StoreError as error:
        typer.echo(f"hidsctl: {plain(str(error))}", err=True)
        raise typer.Exit(NO_INDEX) from error
    if not found:
        raise typer.Exit(NOT_FOUND)


class _Show(Protocol):
    def __call__(self, line: bytes, /) -> None: ...


def _print(path: Path, query: Query, *, follow: bool, show: _Show) -> bool:
    """Show what `query` finds, oldest first; whether there was any."""
    search = Search(path)
    seen = search.newest()
    lines = [line for _, line in search.find(msgspec.structs.replace(query, upto_number=seen))]
    for line in reversed(lines):
        show(line)
    found = bool(lines)
    if not follow:
        search.close()
        return found
    with suppress(KeyboardInterrupt):  # how one leaves it
        for line in _new(search, path, query, seen):
            found = True
            show(line)
    return found


def _new(search: Search, path: Path, query: Query, seen: int) -> Iterator[bytes]:
    """Alerts above number `seen`, as they come in; never ends. An index that is replaced is opened again."""
    while True:
        version = search.data_version()
        news = msgspec.structs.replace(query, after_number=seen, newest_first=False, limit=_FOLLOW_BATCH)
        count = 0
        for count, (seen, line) in enumerate(search.find(news), 1):  # noqa: B007, PLR1704 - where to go on
            yield line
        sys.stdout.flush()
        if count == _FOLLOW_BATCH:
            continue
        while search.data_version() == version and not search.replaced():
            time.sleep(POLL_S)
        if search.replaced():
            search.close()
            search = _open_again(path)


def _open_again(path: Path) -> Search:
    for _ in range(round(_REPLACED_S / POLL_S)):
        with suppress(StoreError):
            return Search(path)
        time.sleep(POLL_S)
    return Search(path)


def show_json(line: bytes) -> None:
    """One alert as it is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")


def show_human() -> "_Show":
    """What shows alerts to people."""
    return _Blocks().show


class _Blocks:
    """Alerts for people: one block each, in colour on a terminal unless NO_COLOR is set."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def show(self, line: bytes) -> None:
        self._console.print(_block(_alert.decode(line)))


def _block(alert: dict[str, Any]) -> Text:
    """When, level, rule, whose; what; fields; logs. All that came from outside is escaped."""
    rule, agent = alert["rule"], alert["agent"]
    style = next(style for least, style in _LEVELS if rule["level"] >= least)
    at = datetime.fromisoformat(alert["timestamp"]).astimezone()
    block = Text(f"{at:%Y-%m-%d %H:%M:%S} ")
    block.append(f"level {rule['level']:>2} ", style)
    block.append(f"rule {plain(str(rule['id']))}  {plain(agent['name'])} ({plain(agent['id'])})  ")
    block.append(plain(alert.get("location", "")), "dim")
    block.append(f"\n    {plain(rule['description'])}", "bold")
    if fields := [f"{plain(name)}={plain(str(value))}" for name, value in flat(alert.get("data", {}))]:
        block.append("\n    " + "  ".join(fields))
    for log in (*alert.get("full_log", "").split("\n"), *alert.get("previous_output", "").split("\n")):
        if log:
            block.append(f"\n    {plain(log)}", "dim")
    return block
