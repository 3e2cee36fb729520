"""`hidsctl agent`: let machines join, see them, remove them."""

import datetime
import re
import shlex
import socket
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.cli.settings import Settings
from hids.core.alert.text import plain

app = typer.Typer(no_args_is_help=True, help="Let machines join, see them, remove them.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
AgentKey = Annotated[str, typer.Argument(help="Id or name.", metavar="AGENT")]

_SPAN = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(text: str) -> int:
    found = _SPAN.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise typer.BadParameter(f'expected a span such as 30m, 1h or 7d, got "{text}"')
    return int(found[1]) * _SECONDS[found[2]]


@app.command()
def token(
    ctx: typer.Context,
    *,
    valid: Annotated[str, typer.Option(help="How long it can be used: 30m, 1h, 7d.")] = "1h",
    uses: Annotated[int, typer.Option(min=1, max=100_000, help="How many agents may join with it.")] = 1,
    host: Annotated[
        str, typer.Option(help="Address under which agents reach this manager; default: this host's name.")
    ] = "",
    note: Annotated[str, typer.Option(help="For yourself, what it is for.")] = "",
    json: Json = False,
) -> None:
    """Make a token, and print the command that joins a machine with it.

    \b
    Examples:
      hidsctl agent token
      hidsctl agent token --uses 20 --valid 7d --host hids.example.org --note "web servers"
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer = settings.ask("token", valid_s=_seconds(valid), uses=uses, note=note)
    address = host or socket.getfqdn()
    place = f"{shlex.quote(address)}:{answer['join_port']}"
    command = f"hids-agent join {place} --token {answer['token']} --ca-pin {answer['pin']}"
    answer |= {"host": address, "command": command}

    def human(_: Any) -> None:
        expires = datetime.datetime.fromtimestamp(answer["expires_ms"] / 1000).astimezone()
        typer.echo(command)
        many = "once" if answer["uses"] == 1 else f"{answer['uses']} times"
        typer.echo(f"# on the machine that is to join; usable {many} until {expires:%Y-%m-%d %H:%M %Z}", err=True)

    settings.show(answer, human, json=json)


@app.command("list")
def list_agents(ctx: typer.Context, *, json: Json = False) -> None:
    """List all agents, removed ones too."""
    settings: Settings = ctx.obj
    settings.show(settings.ask("agents"), _print_table, json=json)


@app.command()
def show(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Show one agent."""
    settings: Settings = ctx.obj
    settings.show(settings.ask("agent", agent=agent), _print_one, json=json)


@app.command()
def remove(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Remove an agent: its connection is cut at once and its certificate is of no use any more.

    \b
    Examples:
      hidsctl agent remove web1
      hidsctl agent remove 007 --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    settings.show(
        settings.ask("remove", agent=agent),
        lambda row: typer.echo(f"agent {row['id']} ({plain(row['name'])}) is removed"),
        json=json,
    )


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("no agents yet; `hidsctl agent token` prints the command that joins one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "name", "state", "address", "last seen", "lines", "os", "software"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            row["id"],
            Text(plain(row["name"])),
            Text(row["state"], style={"connected": "green", "removed": "dim"}.get(row["state"], "yellow")),
            Text(plain(row["address"] or "")),
            _when(row["last_seen_ms"]),
            str(row["committed"]),
            Text(plain(row["os"] or "")),
            Text(plain(row["software"] or "")),
        )
    Console().print(table)


def _print_one(row: dict[str, Any]) -> None:
    for key, value in row.items():
        shown = _when(value) if key.endswith("_ms") and key != "clock_offset_ms" else plain(str(value))
        if shown:
            typer.echo(f"{key.removesuffix('_ms').replace('_', ' ')}: {shown}")


def _when(at_ms: int | None) -> str:
    if not at_ms:
        return ""
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
