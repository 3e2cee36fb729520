"""`hidsctl policy`: how hosts are set up, measured by their policies."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.adapters.clock import SystemClock
from hids.adapters.policies import PolicyReader, PolicyRow, ResultRow, ScoreRow
from hids.cli.policyreport import ReportData, as_csv, as_html, as_json, compliance_of, when
from hids.cli.settings import REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.core.policy.document import MAX_BYTES
from hids.core.policy.load import load_policy
from hids.errors import ConfigError, StoreError

NOT_FOUND, NO_RESULTS = 1, 3

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="How hosts are set up, measured by their policies.")

AgentOption = Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Of this agent: id or name.")]
PolicyOption = Annotated[str | None, typer.Option("--policy", metavar="ID", help="Of this policy.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON.")]

_COLOURS = {"passed": "green", "failed": "bold red"}


@app.command("list")
def list_(
    ctx: typer.Context, *, agent: AgentOption = None, policy: PolicyOption = None, json: JsonOption = False
) -> None:
    """List the policies of all hosts with their scores: percent that passed, of what passed or failed.

    \b
    Examples:
      hidsctl policy list
      hidsctl policy list --agent web1 --json | jq '.[].score'

    Exit code: 0 found, 1 none found, 2 wrong usage, 3 no results yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    rows = _read(settings, lambda reader: reader.policies(agent=agent, policy=policy))
    settings.show(msgspec.to_builtins(rows), lambda _: _print_policies(rows), json=json)
    _end_if_none(rows)


@app.command()
def show(
    ctx: typer.Context,
    *,
    agent: AgentOption = None,
    policy: PolicyOption = None,
    result: Annotated[
        Literal["passed", "failed", "not applicable"] | None, typer.Option(help="Only checks with this result.")
    ] = None,
    check: Annotated[
        int | None, typer.Option(metavar="ID", min=0, help="Only this check, with all that is known.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the checks of policies: result, what it was before, since when.

    \b
    Examples:
      hidsctl policy show --agent web1 --result failed
      hidsctl policy show --policy cis_debian12 --check 33010

    Exit code: 0 found, 1 none found, 2 wrong usage, 3 no results yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    rows = _read(settings, lambda reader: reader.results(agent=agent, policy=policy, result=result, check=check))
    show_rows = _print_results if check is None else _print_whole
    settings.show(msgspec.to_builtins(rows), lambda _: show_rows(rows), json=json)
    _end_if_none(rows)


@app.command()
def history(
    ctx: typer.Context, *, agent: AgentOption = None, policy: PolicyOption = None, json: JsonOption = False
) -> None:
    """Show how scores changed, the oldest first. There is a line for each scan that brought news.

    \b
    Example:
      hidsctl policy history --agent web1 --policy cis_debian12

    Exit code: 0 found, 1 none found, 2 wrong usage, 3 no results yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    rows = _read(settings, lambda reader: reader.history(agent=agent, policy=policy))
    settings.show(msgspec.to_builtins(rows), lambda _: _print_history(rows), json=json)
    _end_if_none(rows)


@app.command()
def report(
    ctx: typer.Context,
    *,
    format_: Annotated[
        Literal["html", "csv", "json"], typer.Option("--format", help="For people or for programs.")
    ] = "html",
    agent: AgentOption = None,
    policy: PolicyOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")] = None,
) -> None:
    """Write a report: scores, their history, and every check with what to do about it.

    \b
    Examples:
      hidsctl policy report --agent web1 -o web1.html
      hidsctl policy report --format csv --policy cis_debian12 > cis.csv

    Exit code: 0 written, 1 no results of that kind, 2 wrong usage, 3 no results yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    data = _read(
        settings,
        lambda reader: ReportData(
            policies=reader.policies(agent=agent, policy=policy),
            results=reader.results(agent=agent, policy=policy),
            history=reader.history(agent=agent, policy=policy),
        ),
    )
    _end_if_none(data.policies)
    match format_:
        case "html":
            text = as_html(data, SystemClock().now_ms())
        case "csv":
            text = as_csv(data)
        case "json":
            text = as_json(data) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{output}: cannot be written: {error.strerror}", REFUSED)


@app.command("check")
def check_file(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policies: Wazuh's SCA files, or yours.")],
    *,
    json: JsonOption = False,
) -> None:
    """Read policies without evaluating them, and name all that is wrong. `hids-agent policy FILE` evaluates one.

    \b
    Example:
      hidsctl policy check /etc/hids/policies/*.yml

    Exit code: 0 all can be used, 1 one cannot, or has rules that cannot be evaluated, 2 wrong usage.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    found = list(map(_checked, files))
    settings.show(msgspec.to_builtins(found), lambda _: _print_checked(found), json=json)
    if any(one.problems for one in found):
        raise typer.Exit(REFUSED)


class Checked(msgspec.Struct, frozen=True):
    """What is to say of a policy's file."""

    file: str
    policy: str = ""
    checks: int = 0
    problems: tuple[str, ...] = ()


def _checked(path: Path) -> Checked:
    try:
        with path.open("rb") as file:
            policy = load_policy(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        return Checked(str(path), problems=(f"{path}: cannot be read: {error.strerror}",))
    except ConfigError as error:
        return Checked(str(path), problems=(str(error),))
    return Checked(str(path), policy.id, len(policy.checks), policy.problems)


def _print_checked(found: Sequence[Checked]) -> None:
    for one in found:
        typer.echo(f"{plain(one.file)}: {one.checks} checks, {len(one.problems)} problems")
        for problem in one.problems:
            typer.echo(f"  {plain(problem)}")


def _read(settings: Settings, ask: Callable[[PolicyReader], T]) -> T:
    try:
        reader = PolicyReader(settings.paths.policies)
        try:
            return ask(reader)
        finally:
            reader.close()
    except StoreError as error:
        fail(str(error), NO_RESULTS)


def _end_if_none(rows: object) -> None:
    if not rows:
        typer.echo("hidsctl: no results; does an agent have [policy] files in its agent.toml?", err=True)
        raise typer.Exit(NOT_FOUND)


# ---- for people --------------------------------------------------------------------------------------------


def _table(headings: str, rows: list[tuple[object, ...]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in headings.split(","):
        table.add_column(heading)
    for row in rows:
        table.add_row(*(Text(plain(str(cell)), _COLOURS.get(str(cell), "")) for cell in row))
    Console(highlight=False, soft_wrap=True).print(table)


def _print_policies(rows: Sequence[PolicyRow]) -> None:
    def cells(row: PolicyRow) -> tuple[object, ...]:
        counts = (f"{row.score} %", row.passed, row.failed, row.invalid)
        return (row.agent_name, row.policy, *counts, when(row.scanned_ms), row.origin, row.name)

    _table("agent,policy,score,passed,failed,n/a,last scan,from,name", list(map(cells, rows)))


def _print_results(rows: Sequence[ResultRow]) -> None:
    _table(
        "agent,policy,id,result,before,since,title",
        [
            (row.agent_name, row.policy, row.id, row.result, row.previous, when(row.since_ms), row.text.title)
            for row in rows
        ],
    )


def _print_history(rows: Sequence[ScoreRow]) -> None:
    _table(
        "agent,policy,when,score,passed,failed,n/a",
        [
            (row.agent_name, row.policy, when(row.at_ms), f"{row.score} %", row.passed, row.failed, row.invalid)
            for row in rows
        ],
    )


def _print_whole(rows: Sequence[ResultRow]) -> None:
    for row in rows:
        typer.echo(f"{plain(row.agent_name)} {plain(row.policy)} {row.id}: {row.result} since {when(row.since_ms)}")
        parts = (
            ("title", row.text.title),
            ("before", row.previous),
            ("reason", row.reason),
            ("description", row.text.description),
            ("rationale", row.text.rationale),
            ("to do", row.text.remediation),
            ("compliance", compliance_of(row)),
            (f"rules ({row.text.condition})", " ;; ".join(row.text.rules)),
        )
        for name, text in parts:
            if text:
                typer.echo(f"  {name}: {plain(text)}")
