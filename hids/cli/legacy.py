"""`hidsctl legacy`: steer the agents of OSSEC and Wazuh that report here; `hidsctl agent import-keys`: make them known."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hids.cli.settings import REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.core.wire.ossec.keys import MAX_FILE_BYTES

app = typer.Typer(no_args_is_help=True, help="Steer agents of OSSEC and Wazuh.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
AgentKey = Annotated[str, typer.Argument(help="Id or name.", metavar="AGENT")]

PART_BYTES = 32 * 1024
"""Of a key file in one request."""


@app.command()
def restart(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Restart an agent's programs.

    \b
    Examples:
      hidsctl legacy restart web1
    """  # noqa: D301 - click's mark for lines that stay as they are
    _order(ctx, agent, json=json, what="restart")


@app.command()
def scan(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Have an agent run syscheck and rootcheck now.

    \b
    Examples:
      hidsctl legacy scan web1
    """  # noqa: D301 - click's mark for lines that stay as they are
    _order(ctx, agent, json=json, what="scan")


@app.command()
def reconnect(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Have an agent of Wazuh close its connection and come again.

    \b
    Examples:
      hidsctl legacy reconnect web1
    """  # noqa: D301 - click's mark for lines that stay as they are
    _order(ctx, agent, json=json, what="reconnect")


@app.command()
def respond(
    ctx: typer.Context,
    agent: AgentKey,
    command: Annotated[str, typer.Argument(help="As ar.conf has it: the name and the timeout, firewall-drop600.")],
    *,
    ip: Annotated[str, typer.Option(help="Address that it is about.")] = "",
    user: Annotated[str, typer.Option(help="User that it is about.")] = "",
    json: Json = False,
) -> None:
    """Have an agent run an active response. Old agents do not tell whether they did.

    \b
    Examples:
      hidsctl legacy respond web1 firewall-drop600 --ip 192.0.2.7
    """  # noqa: D301 - click's mark for lines that stay as they are
    _order(ctx, agent, json=json, what=command, ip=ip, user=user)


@app.command("reset-counters")
def reset_counters(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Let an agent's message numbers begin anew, after it was installed again under its old key.

    What was captured of it before can then be played to this manager again, once.

    \b
    Examples:
      hidsctl legacy reset-counters web1
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    settings.show(
        settings.ask("legacy.reset", agent=agent),
        lambda done: typer.echo(f"the counters of agent {done['agent']} ({plain(done['name'])}) begin anew"),
        json=json,
    )


@app.command("key")
def show_key(ctx: typer.Context, agent: AgentKey, *, json: Json = False) -> None:
    """Print an agent's key as `manage_agents -e` does. Whoever has it can speak for the agent and to it.

    \b
    Examples:
      hidsctl legacy key web1
      hidsctl legacy key web1 --json | jq -r .line
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    settings.show(settings.ask("legacy.key", agent=agent), lambda answer: typer.echo(answer["exported"]), json=json)


def import_keys(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="client.keys of an OSSEC or Wazuh manager; - for standard input.")],
    *,
    json: Json = False,
) -> None:
    """Make the agents of an OSSEC or Wazuh manager known here, with the keys that they have.

    Doing it again is harmless. Agents that were removed there are skipped, and named.
    Ends with 1 when a line could not be taken; the others are.

    \b
    Examples:
      hidsctl agent import-keys /var/ossec/etc/client.keys
      ssh old-manager sudo cat /var/ossec/etc/client.keys | hidsctl agent import-keys -
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer: dict[str, Any] = {"agents": [], "bad": [], "skipped": [], "enabled": False}
    for first, part in _parts(_read(file)):
        said = settings.ask("legacy.import", text=part)
        answer["agents"] += said["agents"]
        for kind in ("bad", "skipped"):
            answer[kind] += [line | {"line": line["line"] + first - 1} for line in said[kind]]
        answer["enabled"] = said["enabled"]
    settings.show(answer, _print_imported, json=json)
    if answer["bad"] or any(agent["outcome"] == "refused" for agent in answer["agents"]):
        raise typer.Exit(REFUSED)


def _order(ctx: typer.Context, agent: str, *, json: bool, **arguments: str) -> None:
    settings: Settings = ctx.obj
    settings.show(
        settings.ask("legacy.order", agent=agent, **arguments),
        lambda done: typer.echo(f"agent {done['agent']} ({plain(done['name'])}) was told: {plain(done['what'])}"),
        json=json,
    )


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if str(file) == "-" else _bounded(file)
        if len(data) > MAX_FILE_BYTES:
            fail(f"{file}: more than {MAX_FILE_BYTES} bytes; this is no client.keys", REFUSED)
        return data.decode("utf-8")
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}", REFUSED)
    except UnicodeDecodeError:
        fail(f"{file}: is not text; expected client.keys, one agent a line", REFUSED)


def _bounded(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_FILE_BYTES + 1)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, lines): a request has a limit."""
    first, part, size = 1, list[str](), 0
    for number, line in enumerate(text.split("\n"), 1):
        if part and size + len(line) > PART_BYTES:
            yield first, "\n".join(part)
            first, part, size = number, [], 0
        part.append(line[:PART_BYTES])
        size += len(line) + 1
    yield first, "\n".join(part)


def _print_imported(answer: dict[str, Any]) -> None:
    for agent in answer["agents"]:
        where = f"agent {agent['agent_id']} " if agent["agent_id"] else ""
        note = f"  ({plain(agent['note'])})" if agent["note"] else ""
        typer.echo(f"{agent['id']} {plain(agent['name'])}: {where}{agent['outcome']}{note}")
    for line in answer["skipped"]:
        typer.echo(
            f"line {line['line']}: agent {plain(line['id'])} {plain(line['name'] or '(no name left)')} skipped: {line['reason']}"
        )
    if answer["skipped"]:
        typer.echo(f"{len(answer['agents'])} agents, {len(answer['skipped'])} skipped")
    for bad in answer["bad"]:
        typer.echo(f"line {bad['line']}: {plain(bad['reason'])}", err=True)
    if not answer["enabled"]:
        typer.echo("old agents are not served yet: set enabled = true in [legacy] of manager.toml", err=True)
