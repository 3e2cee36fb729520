"""`hidsctl report`: what the alerts of a day, a week or any time add up to."""

import gzip
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from hids.adapters.clock import SystemClock
from hids.adapters.files import write_atomically
from hids.adapters.ossec_conf import reports_toml
from hids.adapters.reports import alerts_between, render
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.cli.times import moment
from hids.core.report import DEFAULT_BY, KEYS, TOP, Key, Question, compose
from hids.core.report_schedule import Format, Frequency, last_period, midnight_ms
from hids.errors import ConfigError, StoreError

app = typer.Typer(help="What alerts add up to, on demand and by the calendar.")

_PAIRS = "KEY=VALUE"
_FORMATS: dict[str, Format] = {"text": "text", "html": "html", "json": "json"}


@app.callback(invoke_without_command=True)
def report(
    ctx: typer.Context,
    *,
    daily: Annotated[bool, typer.Option("--daily", help="Of yesterday.")] = False,
    weekly: Annotated[bool, typer.Option("--weekly", help="Of last week, Monday to Sunday.")] = False,
    since: Annotated[
        str | None, typer.Option(help="From this time on: 2h, 3d, 2026-11-24T03:21. Default: a day ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time. Default: now.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help=f"Count by this, several times if need be: {', '.join(KEYS)}."),
    ] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar=_PAIRS,
            help="Only alerts with this: group=sshd*, level=7 (or higher), srcip=192.0.2.*",
        ),
    ] = None,
    related: Annotated[
        list[str] | None,
        typer.Option(
            "--related", "-r", metavar="KEY=KEY", help="For each value of one the values of another: user=srcip."
        ),
    ] = None,
    logs: Annotated[bool, typer.Option("--logs", "-s", help="Show the alerts' lines, too.")] = False,
    top: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Rows of each list.")] = TOP,
    title: Annotated[str, typer.Option("--title", "-n", help="Its title.")] = "",
    form: Annotated[str, typer.Option("--format", metavar="text|html|json", help="How it looks.")] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="Read alerts, JSON lines, from here (- is stdin, .gz is unpacked) instead of the index.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Count the alerts of some time by rule, group, agent, address and more.

    \b
    Examples:
      hidsctl report --daily --format html -o report.html
      hidsctl report --since 7d --filter group=authentication_failed --by srcip --by user
      hidsctl report --since 30d --filter level=10 --related user=srcip --logs
      zcat ossec-alerts-24.json.gz | hidsctl report --input - --since 2026-11-24 --until 2026-11-25 --json

    OSSEC's `ossec-reportd -f group X -r user srcip` is `--filter group=X --related user=srcip`.
    Exit status: 0 there were alerts, 1 there were none, 2 wrong usage, 3 there is nothing to read.
    """  # noqa: D301 - click's mark for lines that stay as they are
    if ctx.invoked_subcommand is not None:
        return
    settings: Settings = ctx.obj
    frequency: Frequency | None = "daily" if daily else "weekly" if weekly else None
    since_ms, until_ms = _time(frequency, since, until)
    question = Question(
        title=title or (f"{frequency.capitalize()} report" if frequency else "Report"),
        since_ms=since_ms,
        until_ms=until_ms,
        by=tuple(_key(one, "--by") for one in by) if by else DEFAULT_BY,
        filters=tuple(map(_filter, filter_ or ())),
        related=tuple(map(_related, related or ())),
        logs=logs,
        top=top,
    )
    wanted = _FORMATS.get("json" if json or settings.json else form)
    if wanted is None:
        raise typer.BadParameter(f"expected text, html or json, got {form!r}", param_hint="--format")
    try:
        lines = (
            alerts_between(settings.paths.search, settings.paths.alerts / "alerts.json", question)
            if source is None
            else _read(source)
        )
        made = compose(question, lines, SystemClock().now_ms())
        _write(render(made, wanted), output)
    except StoreError as error:
        fail(str(error), NO_MANAGER)
    if not made.alerts:
        raise typer.Exit(REFUSED)


@app.command("import")
def import_(
    conf: Annotated[Path, typer.Argument(metavar="FILE", help="An ossec.conf.")],
) -> None:
    """Print the <reports> of an ossec.conf as report tables for manager.toml.

    \b
    Example:
      hidsctl report import /var/ossec/etc/ossec.conf >> /etc/hids/manager.toml

    Exit status: 0 printed, 1 there are none, or they cannot be read.
    """  # noqa: D301 - click's mark for lines that stay as they are
    try:
        text = reports_toml(str(conf), conf.read_bytes())
    except OSError as error:
        fail(f"{conf}: cannot be read: {error.strerror}", REFUSED)
    except ConfigError as error:
        fail(str(error), REFUSED)
    if not text:
        fail(f"{conf}: there are no <reports> in it", REFUSED)
    typer.echo(text, nl=False)


def _time(frequency: Frequency | None, since: str | None, until: str | None) -> tuple[int, int]:
    now_ms = SystemClock().now_ms()
    if frequency is not None:
        if since or until:
            raise typer.BadParameter("--daily and --weekly say the time already", param_hint="--since")
        first, after = last_period(frequency, datetime.fromtimestamp(now_ms / 1000).date())  # noqa: DTZ006 - local days
        return midnight_ms(first), midnight_ms(after)
    day_ms = int(timedelta(days=1).total_seconds() * 1000)
    until_ms = moment(until, "--until", now_ms) or now_ms + 1
    since_ms = moment(since, "--since", now_ms)
    since_ms = since_ms if since_ms is not None else until_ms - day_ms
    if since_ms >= until_ms:
        raise typer.BadParameter("the time ends before it begins", param_hint="--until")
    return since_ms, until_ms


def _key(text: str, option: str) -> Key:
    for key in KEYS:
        if key == text:
            return key
    raise typer.BadParameter(f"expected one of {', '.join(KEYS)}, got {text!r}", param_hint=option)


def _filter(text: str) -> tuple[Key, str]:
    name, equals, value = text.partition("=")
    key = _key(name, "--filter")
    if not equals or (key in ("level", "rule") and not value.isdigit()):
        raise typer.BadParameter(
            f"expected {_PAIRS}, such as group=sshd or level=7, got {text!r}", param_hint="--filter"
        )
    return key, value


def _related(text: str) -> tuple[Key, Key]:
    name, _, other = text.partition("=")
    return _key(name, "--related"), _key(other, "--related")


def _read(source: Path) -> Iterator[bytes]:
    if str(source) == "-":
        yield from sys.stdin.buffer
        return
    try:
        with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as file:
            yield from file
    except (OSError, EOFError) as error:
        raise StoreError(f"{source}: cannot be read: {error}") from error


def _write(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        write_atomically(output, data, 0o640)
