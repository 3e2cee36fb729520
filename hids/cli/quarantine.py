"""`hidsctl quarantine`: lines that were set aside without being judged."""

import datetime
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.adapters.proof import Proof
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.errors import StoreError
from hids.ports import DeadLetter

app = typer.Typer(
    no_args_is_help=True,
    help="Lines that ended a process of the manager twice, or could not be read, and were set aside.",
)

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Numbers = Annotated[list[int], typer.Argument(help="Numbers, as `list` shows them.", metavar="NUMBER...", min=1)]

DONE_S = 15.0
"""How long to wait until the lane has done it."""
LOOK_S = 0.05


@app.command("list")
def list_letters(
    ctx: typer.Context,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also those that were replayed or dropped.")] = False,
    json: Json = False,
) -> None:
    """List the lines that are kept."""
    settings: Settings = ctx.obj
    settings.show([_row(letter) for letter in _letters(settings, settled=all_)], _print_table, json=json)


@app.command()
def show(
    ctx: typer.Context, number: Annotated[int, typer.Argument(help="As `list` shows it.")], *, json: Json = False
) -> None:
    """Show one line with all that is known of it."""
    settings: Settings = ctx.obj
    letter = _letter(settings, number)
    if letter is None:
        fail(f"there is no number {number} in the quarantine", REFUSED)
    settings.show(_row(letter), _print_one, json=json)


@app.command()
def replay(ctx: typer.Context, numbers: Numbers, *, json: Json = False) -> None:
    """Send lines on their way again, after an upgrade or a change of the rules say.

    A line that ends a process again is set aside again, under a new number.

    \b
    Examples:
      hidsctl quarantine replay 3
      hidsctl quarantine replay 3 4 5 --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    _settle(ctx.obj, numbers, "replayed", json=json)


@app.command()
def drop(ctx: typer.Context, numbers: Numbers, *, json: Json = False) -> None:
    """Let lines be. They stay in the list with --all until others need the room."""
    _settle(ctx.obj, numbers, "dropped", json=json)


def _settle(settings: Settings, numbers: list[int], verdict: str, *, json: bool) -> None:
    for number in numbers:
        letter = _letter(settings, number)
        if letter is None:
            fail(f"there is no number {number} in the quarantine", REFUSED)
        if letter.state != "kept":
            fail(f"number {number} was {letter.state} before", REFUSED)
        if verdict == "replayed" and letter.line is None:
            fail(f"number {number} could not be read when it came, so there is nothing to replay; drop it", REFUSED)
    settings.ask("settle", letters=numbers, verdict=verdict)
    deadline = time.monotonic() + DONE_S
    while not all((letter := _letter(settings, number)) is not None and letter.state == verdict for number in numbers):
        if time.monotonic() > deadline:
            fail(
                f"not done within {DONE_S:g} s: the manager is busy or its lane restarts; look again, and repeat",
                REFUSED,
            )
        time.sleep(LOOK_S)
    answer = {"numbers": numbers, "state": verdict}
    settings.show(answer, lambda _: typer.echo(f"{verdict}: {', '.join(map(str, numbers))}"), json=json)


def _letters(settings: Settings, *, settled: bool) -> list[DeadLetter]:
    try:
        return Proof(settings.paths.ledger).letters(settled=settled)
    except StoreError as error:
        fail(str(error), NO_MANAGER)


def _letter(settings: Settings, number: int) -> DeadLetter | None:
    try:
        return Proof(settings.paths.ledger).letter(number)
    except StoreError as error:
        fail(str(error), NO_MANAGER)


def _row(letter: DeadLetter) -> dict[str, Any]:
    line, agent = letter.line, letter.agent
    return {
        "number": letter.number,
        "state": letter.state,
        "reason": letter.reason,
        "source": letter.source,
        "epoch": letter.epoch,
        "seq": letter.seq,
        "agent": {"id": agent.id, "name": agent.name} if agent is not None else None,
        "location": line.location if line is not None else None,
        "event_ms": line.at_ms if line is not None else None,
        "set_aside_ms": letter.at_ms or None,
        "settled_ms": letter.settled_ms or None,
        "text": letter.text.decode(errors="backslashreplace"),
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("the quarantine is empty")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("number", "set aside", "state", "reason", "agent", "line"):
        table.add_column(heading, no_wrap=heading == "line", overflow="ellipsis")
    for row in rows:
        table.add_row(
            str(row["number"]),
            _when(row["set_aside_ms"]),
            row["state"],
            Text(plain(row["reason"])),
            Text(plain(row["agent"]["name"] if row["agent"] else row["source"])),
            Text(plain(row["text"])),
        )
    Console().print(table)


def _print_one(row: dict[str, Any]) -> None:
    for key, value in {**row, "agent": row["agent"] and row["agent"]["name"]}.items():
        if value not in (None, ""):
            shown = _when(value) if key.endswith("_ms") else plain(str(value))
            typer.echo(f"{key.removesuffix('_ms').replace('_', ' ')}: {shown}")


def _when(at_ms: int | None) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}" if at_ms else ""
