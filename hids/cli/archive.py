"""`hidsctl archive`: find lines among all that was read, alert or not."""

import re
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import msgspec
import typer

from hids.adapters.clock import SystemClock
from hids.adapters.event_archive import days, find
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.cli.times import moment
from hids.core.alert.text import plain
from hids.errors import StoreError

app = typer.Typer(
    no_args_is_help=True, help="Every line that was read, where the section archive of manager.toml keeps them."
)

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@app.command()
def search(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(help="From this time on: 10m, 2h, 3d, or 2026-11-24T03:21 (local unless it has a zone)."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time; same forms.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="AGENT", help="Of this agent: id or name.")] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="REGEX", help="With this in it (Python's regular expressions).")
    ] = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i", help="Whatever the case.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000_000, help="The first so many.")] = 10_000,
    json: Json = False,
) -> None:
    """Show archived lines, in the order in which they came. Times are those of the events.

    \b
    Examples:
      hidsctl archive search --since 2h --agent web1
      hidsctl archive search --since 2026-11-24T03:00 --until 2026-11-24T04:00 --grep 'sshd.*192\\.0\\.2\\.7'
      hidsctl archive search --grep mallory --json | jq -r .full_log

    With --json one object a line, in the form of Wazuh's archives.json.
    Exit status: 0 found, 1 none found, 2 wrong usage, 3 there is no archive.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    now_ms = SystemClock().now_ms()
    found = find(
        settings.paths.archive,
        since_ms=moment(since, "--since", now_ms),
        until_ms=moment(until, "--until", now_ms),
        agent=agent,
        pattern=_pattern(grep, ignore_case=ignore_case),
    )
    show = _show_json if json or settings.json else _show
    try:
        count = sum(1 for _ in map(show, islice(found, limit)))
    except StoreError as error:
        fail(str(error), NO_MANAGER)
    if not count:
        raise typer.Exit(REFUSED)


@app.command("list")
def list_(ctx: typer.Context, *, json: Json = False) -> None:
    """List the days that are there, with their sizes.

    \b
    Example:
      hidsctl archive list

    Exit status: 0 there are some, 1 there are none.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer = [
        {"day": str(day), "file": str(path), "bytes": path.stat().st_size} for day, path in days(settings.paths.archive)
    ]
    settings.show(answer, _list, json=json)
    if not answer:
        raise typer.Exit(REFUSED)


def _list(answer: list[dict[str, Any]]) -> None:
    for one in answer:
        typer.echo(f"{one['day']}  {one['bytes'] / 1048576:10.1f} MiB  {plain(one['file'])}")


def _pattern(grep: str | None, *, ignore_case: bool) -> "re.Pattern[bytes] | None":
    if grep is None:
        return None
    try:
        return re.compile(grep.encode("utf-8", "surrogateescape"), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise typer.BadParameter(f"not a regular expression: {error}", param_hint="--grep") from error


def _show_json(line: dict[str, Any]) -> None:
    typer.echo(msgspec.json.encode(line).decode())


def _show(line: dict[str, Any]) -> None:
    at = datetime.fromisoformat(line["timestamp"]).astimezone()
    where = f"{plain(line['agent']['name'])} ({plain(line['agent']['id'])})  {plain(line['location'])}"
    typer.echo(f"{at:%Y-%m-%d %H:%M:%S} {where}  {plain(line['full_log'])}")
