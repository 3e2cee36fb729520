"""`hidsctl agent`: let machines join, see them, remove them."""

import datetime
import re
import shlex
import socket
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import hids
from hids.cli.settings import REFUSED, Settings
from hids.cli.status import PIPE_WIDTH
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
    group: Annotated[list[str] | None, typer.Option(help="Who joins with it is put there; may be repeated.")] = None,
    network: Annotated[
        list[str] | None,
        typer.Option("--from", help="Addresses from which it may be used, 10.0.0.0/8; may be repeated."),
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Who uses it waits until somebody approves.")] = False,
    json: Json = False,
) -> None:
    """Make a token, and print the command that joins a machine with it.

    \b
    Examples:
      hidsctl agent token
      hidsctl agent token --uses 20 --valid 7d --host hids.example.org --note "web servers"
      hidsctl agent token --uses 500 --valid 1d --group web --from 10.1.0.0/16 --approve
    """  # noqa: D301 - click's mark for lines that stay as they are
    terms = {"groups": group or [], "networks": network or [], "approve": approve}
    _make_token(ctx.obj, host, {"valid_s": _seconds(valid), "uses": uses, "note": note, **terms}, json=json)


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What the agent will be called.")],
    *,
    valid: Annotated[str, typer.Option(help="How long it may take to join: 30m, 1h, 7d.")] = "1d",
    host: Annotated[str, typer.Option(help="Address under which it reaches this manager.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="Put it there; may be repeated.")] = None,
    json: Json = False,
) -> None:
    """Add one agent by name: print the command that joins that machine and no other.

    \b
    Examples:
      hidsctl agent add web1
      hidsctl agent add db1 --group db --valid 7d
    """  # noqa: D301 - click's mark for lines that stay as they are
    terms = {"valid_s": _seconds(valid), "uses": 1, "name": name, "groups": group or []}
    _make_token(ctx.obj, host, terms, json=json)


def _make_token(settings: Settings, host: str, terms: dict[str, Any], *, json: bool) -> None:
    answer = settings.ask("token", **terms)
    address = host or socket.getfqdn()
    place = f"{shlex.quote(address)}:{answer['join_port']}"
    named = f" --name {shlex.quote(answer['name'])}" if answer.get("name") else ""
    command = f"hids-agent join {place} --token {answer['token']} --ca-pin {answer['pin']}{named}"
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


@app.command()
def pending(ctx: typer.Context, *, json: Json = False) -> None:
    """List the machines that wait for approval."""
    settings: Settings = ctx.obj
    settings.show(settings.ask("pending"), _print_pending, json=json)


@app.command()
def approve(
    ctx: typer.Context,
    machine: Annotated[str, typer.Argument(help="Its name, or the first digits of its key.")],
    *,
    json: Json = False,
) -> None:
    """Let a machine join that waits. It asks again by itself.

    \b
    Examples:
      hidsctl agent pending
      hidsctl agent approve web1
    """  # noqa: D301 - click's mark for lines that stay as they are
    _decide(ctx.obj, machine, approved=True, json=json)


@app.command()
def deny(
    ctx: typer.Context,
    machine: Annotated[str, typer.Argument(help="Its name, or the first digits of its key.")],
    *,
    json: Json = False,
) -> None:
    """Refuse a machine that waits."""
    _decide(ctx.obj, machine, approved=False, json=json)


def _decide(settings: Settings, machine: str, *, approved: bool, json: bool) -> None:
    answer = settings.ask("decide", which=machine, approved=approved)
    settings.show(
        answer, lambda row: typer.echo(f"{plain(row['name'])} ({row['key'][:12]}) is {row['state']}"), json=json
    )


@app.command()
def rename(
    ctx: typer.Context,
    agent: AgentKey,
    name: Annotated[str, typer.Argument(help="What it is called from now on.")],
    *,
    json: Json = False,
) -> None:
    """Call an agent otherwise. Its id, and what is known of it, stay."""
    settings: Settings = ctx.obj
    answer = settings.ask("rename", agent=agent, name=name)
    settings.show(answer, lambda row: typer.echo(f"agent {row['id']} is called {plain(row['name'])}"), json=json)


@app.command()
def group(
    ctx: typer.Context,
    agent: AgentKey,
    groups: Annotated[list[str] | None, typer.Argument(help="Names of groups; none: it is in no group.")] = None,
    *,
    json: Json = False,
) -> None:
    """Put an agent into these groups and no others. It gets their configuration at once.

    \b
    Examples:
      hidsctl agent group web1 web prod
      hidsctl agent group web1
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer = settings.ask("group", agent=agent, groups=groups or [])

    def human(row: Any) -> None:
        where = ", ".join(map(plain, row["groups"])) or "no group"
        typer.echo(f"agent {row['id']} ({plain(row['name'])}) is in {where}")

    settings.show(answer, human, json=json)


@app.command()
def restart(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Start a connected agent anew. Nothing is lost by it."""
    settings: Settings = ctx.obj
    answer = settings.ask("restart", agent=agent)
    settings.show(answer, lambda row: typer.echo(f"agent {row['id']} ({plain(row['name'])}) starts anew"), json=json)


@app.command("upgrade-info")
def upgrade_info(ctx: typer.Context, *, json: Json = False) -> None:
    """Show which agents run another release than this manager. Exit status 1 when some do."""
    settings: Settings = ctx.obj
    ours = f"hids {hids.__version__}"
    rows = [row for row in settings.ask("agents") if row["state"] != "removed"]
    others = [{key: row[key] for key in ("id", "name", "software", "os")} for row in rows if row["software"] != ours]

    def human(_: Any) -> None:
        typer.echo(f"this manager runs {ours}; {len(rows) - len(others)} of {len(rows)} agents do")
        for row in others:
            typer.echo(
                f"{row['id']}  {plain(row['name'])}  {plain(row['software'] or 'unknown')}  {plain(row['os'] or '')}"
            )
        if others:
            typer.echo("on each: /opt/hids/bin/pip install --upgrade hids, then `hidsctl agent restart AGENT` here")

    settings.show({"manager": ours, "agents": len(rows), "others": others}, human, json=json)
    if others:
        raise typer.Exit(REFUSED)


@app.command("why-offline")
def why_offline(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Say why an agent is not connected, and what to do. Exit status 0 when it is connected, else 1."""
    settings: Settings = ctx.obj
    answer = settings.ask("why", agent=agent)

    def human(_: Any) -> None:
        typer.echo(f"agent {answer['id']} ({plain(answer['name'])})")
        for reason in answer["reasons"]:
            typer.echo(f"  {plain(reason)}")

    settings.show(answer, human, json=json)
    if not answer["connected"]:
        raise typer.Exit(REFUSED)


def _print_pending(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("nobody waits")
    for row in rows:
        facts = (row["key"][:12], row["name"], row["state"], row["address"], row["os"], row["groups"])
        typer.echo("  ".join(plain(str(fact)) for fact in (*facts, _when(row["asked_ms"])) if fact))


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("no agents yet; `hidsctl agent token` prints the command that joins one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "name", "state", "groups", "address", "last seen", "lines", "os", "software"):
        table.add_column(heading, overflow="fold", no_wrap=heading in {"id", "state", "last seen", "lines"})
    for row in rows:
        table.add_row(
            row["id"],
            Text(plain(row["name"])),
            Text(row["state"], style={"connected": "green", "removed": "dim"}.get(row["state"], "yellow")),
            Text(plain(", ".join(row.get("groups", ())))),
            Text(plain(row["address"] or "")),
            _when(row["last_seen_ms"]),
            str(row["committed"]),
            Text(plain(row["os"] or "")),
            Text(plain(row["software"] or "")),
        )
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_WIDTH)).print(table)


def _print_one(row: dict[str, Any]) -> None:
    for key, value in row.items():
        shown = _when(value) if key.endswith("_ms") and key != "clock_offset_ms" else plain(_words(value))
        if shown:
            typer.echo(f"{key.removesuffix('_ms').replace('_', ' ')}: {shown}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in cast("dict[str, str]", value).items())
    return ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)


def _when(at_ms: int | None) -> str:
    if not at_ms:
        return ""
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
