"""`hidsctl response`: what is done about alerts, why, and how it is undone."""

import csv
import datetime
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hids.adapters.clock import SystemClock
from hids.adapters.ossec_responses import responses_of
from hids.adapters.responses import ResponseBook
from hids.adapters.surroundings import surroundings
from hids.cli.settings import REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.core.response.blocks import Blocks
from hids.core.response.decide import Decider, alert_decoder
from hids.core.response.guard import Guard
from hids.core.response.ledger import OrderRow, row_of
from hids.core.response.order import unpack
from hids.core.response.policy import BUILT_IN, Policy, as_toml, check, networks_of
from hids.errors import ConfigError, StoreError
from hids.manager.config import read_config
from hids.messages.responder import Enlisted
from hids.messages.terms import AgentId

app = typer.Typer(no_args_is_help=True, help="What is done about alerts, why, and how it is undone.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Comma-separated values, with a head.")]
Config = Annotated[Path | None, typer.Option("--config", help="manager.toml, if not where the manager has it.")]

MAX_LINE = 4 * 1024 * 1024
"""Bytes of one alert."""
_CSV_DANGER = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet."""


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also what is over, was refused, or was not done.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="The newest so many.")] = 200,
    json: Json = False,
    csv_: Csv = False,
) -> None:
    """List what is in force, the newest on top.

    \b
    Examples:
      hidsctl response list
      hidsctl response list --all --csv > responses.csv
      hidsctl response list --json | jq -r '.[].target'
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    live_at_ms = None if all_ else SystemClock().now_ms()
    _show_rows(settings, _book(settings, live_at_ms=live_at_ms, limit=limit), json=json, csv_=csv_)


@app.command()
def why(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="An address, a user, an alert's id or an order's.")],
    *,
    json: Json = False,
) -> None:
    """Tell what was done about somebody, or why nothing was. Ends with 1 when nothing is known.

    \b
    Examples:
      hidsctl response why 192.0.2.7
      hidsctl response why 001-1-4711 --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    book = ResponseBook(settings.paths.responses)
    answer: list[dict[str, Any]] = []
    for row in _book(settings, text=what):
        respond = book.respond(row.id)
        answer.append(
            msgspec.to_builtins(row)
            | {
                "history": [{"at_ms": at, "state": state, "text": text} for at, state, text in book.history(row.id)],
                "signature": respond.signature.hex() if respond is not None else "",
                "extra": list(unpack(respond.body).extra) if respond is not None else [],
            }
        )
    if not answer:
        fail(f"no response is known about {what!r}; `hidsctl response simulate` tells what a rule would do", REFUSED)
    settings.show(answer, _print_why, json=json)


@app.command()
def commands(ctx: typer.Context, *, config: Config = None, json: Json = False) -> None:
    """List the commands, and the responses that run them.

    \b
    Examples:
      hidsctl response commands
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    policy = _policy(settings, config)
    names = dict.fromkeys((*(command.name for command in policy.commands), *BUILT_IN))
    rows: list[dict[str, Any]] = []
    for name in names:
        command = policy.command(name)
        if command is not None:
            responses = [response.label for response in policy.responses if response.command == name]
            rows.append({"name": name, "action": command.action, "needs": list(command.needs), "responses": responses})
    answer = {"mode": policy.limits.mode, "commands": rows, "responses": msgspec.to_builtins(policy.responses)}
    settings.show(answer, _print_commands, json=json)


@app.command()
def run(
    ctx: typer.Context,
    command: Annotated[str, typer.Argument(help="As `commands` lists it.")],
    target: Annotated[str, typer.Argument(help="Address or user; none for what needs none.")] = "",
    *,
    agent: Annotated[str, typer.Option(help="Id or name.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="On all agents.")] = False,
    timeout: Annotated[int, typer.Option(metavar="SECONDS", min=0, help="Then it is undone; 0: never.")] = 600,
    json: Json = False,
) -> None:
    """Do something now. Guard rails hold, the budget does not.

    \b
    Examples:
      hidsctl response run firewall-drop 192.0.2.7 --agent web1 --timeout 3600
      hidsctl response run disable-account eve --all --timeout 0
    """  # noqa: D301 - click's mark for lines that stay as they are
    if bool(agent) == all_:
        fail("where? Say --agent NAME, or --all", 2)
    settings: Settings = ctx.obj
    answer = settings.ask("response_run", action=command, target=target, agent=agent, timeout_s=timeout)
    settings.show(answer, lambda said: _print_orders(said, "ordered"), json=json)


@app.command()
def undo(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="An address, a user, an alert's id or an order's.")],
    *,
    agent: Annotated[str, typer.Option(help="Only on this agent: id or name.")] = "",
    json: Json = False,
) -> None:
    """Undo what is in force against somebody, wherever it is.

    \b
    Examples:
      hidsctl response undo 192.0.2.7
      hidsctl response undo eve --agent web1
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer = settings.ask("response_undo", target=what, agent=agent)
    settings.show(answer, lambda said: _print_orders(said, "will be undone"), json=json)


@app.command("undo-all")
def undo_all(
    ctx: typer.Context,
    *,
    agent: Annotated[str, typer.Option(help="Only on this agent: id or name.")] = "",
    json: Json = False,
) -> None:
    """Undo everything that is in force.

    \b
    Examples:
      hidsctl response undo-all
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer = settings.ask("response_undo_all", agent=agent)
    settings.show(answer, lambda said: _print_orders(said, "will be undone"), json=json)


@app.command()
def simulate(
    ctx: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="alerts.json files; none: the manager's.")] = None,
    *,
    config: Config = None,
    json: Json = False,
    csv_: Csv = False,
) -> None:
    """Tell what the responses in manager.toml would have done about past alerts. Nothing is done.

    Each alert is judged at its own time: budgets, timeouts and repeated offenders run as they would have.

    \b
    Examples:
      hidsctl response simulate
      hidsctl response simulate --config new.toml alerts-*.json --csv > report.csv
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        policy = _policy(settings, config)
        limits = msgspec.structs.replace(policy.limits, mode="enforce")
        policy = msgspec.structs.replace(policy, limits=limits)
        rows, alerts = _simulate(policy, files or [settings.paths.alerts / "alerts.json"])
    except OSError as error:
        fail(f"{error.filename}: cannot be read: {error.strerror}", REFUSED)
    if csv_:
        _print_csv(rows)
        return
    counts = Counter(row.state for row in rows)
    answer = {
        "alerts": alerts,
        "ordered": counts["would"],
        "refused": counts["refused"],
        "targets": len({row.target for row in rows if row.state == "would"}),
        "reasons": dict(Counter(row.reason for row in rows if row.state == "refused").most_common()),
        "by_response": dict(Counter(row.response for row in rows if row.state == "would").most_common()),
        "orders": [msgspec.to_builtins(row) for row in rows],
    }
    settings.show(answer, _print_report, json=json)


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="ossec.conf of an OSSEC or Wazuh manager.")],
    *,
    wazuh: Annotated[bool, typer.Option("--wazuh", help="It is Wazuh's: level and group must both hold.")] = False,
    json: Json = False,
) -> None:
    """Print the <command>, <active-response> and <white_list> of an ossec.conf as sections of manager.toml.

    What cannot be taken over is said on stderr.

    \b
    Examples:
      hidsctl response import /var/ossec/etc/ossec.conf >> /etc/hids/manager.toml
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        policy, notes = responses_of(str(file), file.read_bytes(), wazuh=wazuh)
        text = as_toml(policy)
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}", REFUSED)
    except ConfigError as error:
        fail(str(error), REFUSED)
    for note in notes:
        typer.echo(f"hidsctl: {plain(note)}", err=True)
    settings.show({"toml": text, "notes": notes}, lambda said: typer.echo(said["toml"], nl=False), json=json)


@app.command("ar-conf")
def ar_conf(ctx: typer.Context, *, config: Config = None, json: Json = False) -> None:
    """Print the ar.conf that agents of OSSEC and Wazuh need for these responses, for the folder shared of the section legacy.

    \b
    Examples:
      hidsctl response ar-conf > /etc/hids/shared/ar.conf
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    policy = _policy(settings, config)
    lines = ["restart-ossec0 - restart-ossec.sh - 0", "restart-ossec0 - restart-ossec.cmd - 0"]
    for response in policy.responses:
        command = policy.command(response.command)
        if command is None or response.disabled or command.action == "restart":
            continue
        minutes = response.repeated_offenders if command.timeout_allowed else ()
        base = response.timeout_s if command.timeout_allowed else 0
        for timeout_s in dict.fromkeys((base, *(minute * 60 for minute in minutes))):
            suffixes = ("", ".sh") if command.action in BUILT_IN else ("",)
            lines += [f"{command.name}{timeout_s} - {command.action}{suffix} - {timeout_s}" for suffix in suffixes]
    lines = list(dict.fromkeys(lines))
    settings.show({"lines": lines}, lambda said: typer.echo("\n".join(said["lines"])), json=json)


# ---- reading ---------------------------------------------------------------------------------------------


def _book(settings: Settings, **filters: Any) -> list[OrderRow]:
    try:
        return ResponseBook(settings.paths.responses).rows(**filters)
    except StoreError as error:
        fail(str(error), REFUSED)


def _policy(settings: Settings, path: Path | None) -> Policy:
    known = path or (settings.paths.config if settings.paths.config.exists() else None)
    try:
        return read_config(known).policy
    except ConfigError as error:
        fail(str(error), REFUSED)


def _simulate(policy: Policy, files: Sequence[Path]) -> tuple[list[OrderRow], int]:
    """(what would have been ordered or refused, alerts read)."""
    check(policy, "manager.toml")
    decider = Decider(policy, Blocks())
    guard = Guard(surroundings(), networks_of(policy.limits.allow, "allow"), policy.limits.allow_users)
    agents: dict[str, Enlisted] = {}
    rows: list[OrderRow] = []
    seen: set[tuple[str, str, str]] = set()
    alerts = 0
    for line in _lines(files):
        try:
            alert = alert_decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        alerts += 1
        if alert.agent.id not in agents:
            agents[alert.agent.id] = Enlisted(AgentId(alert.agent.id), alert.agent.name)
            decider.agents = tuple(agents.values())
        for verdict in decider.decide(alert, line, guard, alert.hids.at_ms):
            key = (
                verdict.order.response,
                verdict.order.agent + verdict.order.address + verdict.order.user,
                verdict.reason,
            )
            if verdict.state == "open" or key not in seen:
                seen.add(key)
                row = row_of(verdict)
                rows.append(msgspec.structs.replace(row, state="would") if row.state == "open" else row)
    return rows, alerts


def _lines(files: Iterable[Path]) -> Iterable[bytes]:
    for path in files:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                yield line.rstrip(b"\n")


# ---- showing ---------------------------------------------------------------------------------------------


def _show_rows(settings: Settings, rows: list[OrderRow], *, json: bool, csv_: bool) -> None:
    if csv_:
        _print_csv(rows)
    else:
        settings.show([msgspec.to_builtins(row) for row in rows], lambda _answer: _print_rows(rows), json=json)


def _print_rows(rows: Sequence[OrderRow]) -> None:
    if not rows:
        typer.echo("nothing")
    for row in rows:
        until = f"until {_when(row.until_ms)}" if row.until_ms else "once" if row.once else "no end"
        typer.echo(
            f"{_when(row.at_ms)}  {row.state:<8} {plain(row.action)} {plain(row.target) or '-'}  on "
            f"{plain(row.agent_name)} ({row.agent})  {until}  {plain(row.response)}, "
            f"{'rule ' + plain(row.rule) if row.rule else plain(row.why)}"
        )
        if row.reason:
            typer.echo(f"    {plain(row.reason)}")


def _print_why(answer: list[dict[str, Any]]) -> None:
    for order in answer:
        _print_rows((msgspec.convert({name: order[name] for name in OrderRow.__struct_fields__}, OrderRow),))
        typer.echo(f"    order {plain(order['id'])}, alert {plain(order['alert']) or 'none'}: {plain(order['why'])}")
        for step in order["history"]:
            typer.echo(f"    {_when(step['at_ms'])}  {step['state']}  {plain(step['text'])}".rstrip())
        if order["signature"]:
            typer.echo(f"    signature {order['signature']}")


def _print_commands(answer: dict[str, Any]) -> None:
    typer.echo(f"mode {answer['mode']}")
    for command in answer["commands"]:
        needs = f"  needs {', '.join(command['needs'])}" if command["needs"] else ""
        used = f"  used by {', '.join(command['responses'])}" if command["responses"] else ""
        does = f"  does {command['action']}" if command["action"] != command["name"] else ""
        typer.echo(f"{command['name']}{does}{needs}{used}")
    for response in answer["responses"]:
        reasons = [f"level {response['level']}"] if response["level"] else []
        reasons += [f"groups {', '.join(response['groups'])}"] if response["groups"] else []
        reasons += [f"rules {', '.join(map(str, response['rules']))}"] if response["rules"] else []
        off = "  (disabled)" if response["disabled"] else ""
        name = response["name"] or response["command"]
        typer.echo(
            f"response {plain(name)}: {response['command']} at {response['location']} for "
            f"{response['timeout_s']} s on {(' and ' if response['match'] == 'all' else ' or ').join(reasons)}{off}"
        )


def _print_orders(answer: dict[str, Any], what: str) -> None:
    for order in answer["orders"]:
        typer.echo(f"{plain(order)} {what}")
    if not answer["orders"]:
        typer.echo("nothing is in force")


def _print_report(answer: dict[str, Any]) -> None:
    typer.echo(
        f"{answer['alerts']} alerts: {answer['ordered']} orders against {answer['targets']} targets, "
        f"{answer['refused']} refused"
    )
    for name, count in answer["by_response"].items():
        typer.echo(f"  {count:>6}  {plain(name)}")
    for reason, count in answer["reasons"].items():
        typer.echo(f"  {count:>6}  refused: {plain(reason)}")
    _print_rows([msgspec.convert(row, OrderRow) for row in answer["orders"]])


def _print_csv(rows: Sequence[OrderRow]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(OrderRow.__struct_fields__)
    for row in rows:
        writer.writerow([_cell(value) for value in msgspec.structs.astuple(row)])


def _cell(value: object) -> str:
    text = plain(str(value))
    return f"'{text}" if text.startswith(_CSV_DANGER) else text


def _when(at_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
