"""`hidsctl syscheck`: what is known of agents' files, what changed, and what to make of it."""

import csv
import datetime
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hids.adapters.baseline_export import FORMAT, Header, verify, write
from hids.adapters.baselines import Baselines, Entry
from hids.adapters.clock import SystemClock
from hids.adapters.evidence.key import EvidenceKey, fingerprint, public_key
from hids.adapters.paths import host_name
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.cli.times import moment
from hids.core.alert.text import plain
from hids.core.syscheck.change import IGNORED, rights
from hids.errors import HidsError, StoreError
from hids.messages.baseline import Baseline

app = typer.Typer(no_args_is_help=True, help="See and steer what is known of agents' files.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Answer in CSV.")]
AgentKey = Annotated[str, typer.Argument(help="Id or name.", metavar="AGENT")]
OnAgent = Annotated[str, typer.Option("--agent", help="Id or name; default: all that have the path.")]
Below = Annotated[str, typer.Argument(help="This path and what is below it; default: everything.", metavar="PATH")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many, the newest.")]

DONE_S = 15.0
"""How long to wait until the lane has done it."""
LOOK_S = 0.05


@app.command("list")
def list_changes(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(help="Id or name; default: all agents, with figures.", metavar="AGENT")] = "",
    path: Below = "",
    *,
    all_: Annotated[
        bool,
        typer.Option(
            "--all", help="Also changes that were accepted, and those for which a package or a maintenance answers."
        ),
    ] = False,
    registry: Annotated[bool, typer.Option("--registry", help="Of Windows' registry only.")] = False,
    since: Annotated[str | None, typer.Option(help="2h, 3d, or 2026-11-24T03:21.")] = None,
    limit: Limit = 1000,
    json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List what changed on an agent and nobody has accepted or answers for; without an agent how much there is of that on each.

    \b
    Examples:
      hidsctl syscheck list
      hidsctl syscheck list web1 --since 1d
      hidsctl syscheck list web1 /etc --all --csv > changes.csv
      hidsctl syscheck list win7 --registry --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    if not agent:
        rows = [msgspec.to_builtins(known) for known in _read(settings, lambda files: files.agents())]
        _show(settings, rows, ("agent", "paths", "changes", "last_ms"), "nothing is known of any agent", json, as_csv)
        return
    number = _agent(settings, agent)
    since_ms = moment(since, "--since", SystemClock().now_ms()) or 0
    entries = _read(
        settings,
        lambda files: files.changes(number, path, limit=limit, since_ms=since_ms, answered=all_, registry=registry),
    )
    nothing = "no change is kept" if all_ else "nothing has changed that was not accepted"
    _show_entries(settings, entries, nothing, json, as_csv)


@app.command()
def show(ctx: typer.Context, path: str, *, agent: OnAgent = "", json: Json = False) -> None:
    """Show what is known of a path, on one agent or on all.

    \b
    Examples:
      hidsctl syscheck show /etc/passwd
      hidsctl syscheck show /usr/bin/ssh --agent web1 --json

    Ends with 1 when nothing is known of it.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    number = _agent(settings, agent) if agent else ""
    found: dict[str, Baseline] = _read(settings, lambda files: files.at(path, number))
    if not found:
        fail(f"nothing is known of {path!r}; a path is written as alerts show it", REFUSED)
    rows = [_row_of(whose, baseline) for whose, baseline in found.items()]
    settings.show(rows, _print_facts, json=json)


@app.command()
def history(
    ctx: typer.Context, path: str, *, agent: OnAgent = "", limit: Limit = 100, json: Json = False, as_csv: Csv = False
) -> None:
    """Show how a path changed, the oldest change first.

    \b
    Examples:
      hidsctl syscheck history /etc/passwd --agent web1
      hidsctl syscheck history /usr/bin/ssh --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    number = _agent(settings, agent) if agent else ""
    entries = _read(settings, lambda files: files.history(path, number, limit=limit))
    _show_entries(settings, entries, "no change of it is kept", json, as_csv)


# ---- orders


@app.command()
def accept(ctx: typer.Context, agent: AgentKey, path: Below = "", *, json: Json = False) -> None:
    """Say that all changes so far are known and well: they leave the list, and are counted anew.

    \b
    Examples:
      hidsctl syscheck accept web1
      hidsctl syscheck accept web1 /etc/nginx
    """  # noqa: D301 - click's mark for lines that stay as they are
    _order(ctx.obj, "accept", agent, path, "changes are accepted", json=json)


@app.command()
def zero(ctx: typer.Context, agent: AgentKey, path: Below = "", *, json: Json = False) -> None:
    """Let changes be counted anew (rules 551 and 552, auto_ignore); also ends `ignore`."""
    _order(ctx.obj, "zero", agent, path, "changes are counted anew", json=json)


@app.command()
def ignore(
    ctx: typer.Context,
    agent: AgentKey,
    path: Annotated[str, typer.Argument(help="This path and what is below it.")],
    *,
    json: Json = False,
) -> None:
    """Only record further changes of a path; a package's file with a wrong content is told all the same.

    \b
    Examples:
      hidsctl syscheck ignore web1 /etc/resolv.conf
      hidsctl syscheck zero web1 /etc/resolv.conf      # hear of it again
    """  # noqa: D301 - click's mark for lines that stay as they are
    _order(ctx.obj, "ignore", agent, path, "further changes are only recorded", json=json)


@app.command()
def clear(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(help="Id or name.", metavar="AGENT")] = "",
    path: Below = "",
    *,
    all_: Annotated[bool, typer.Option("--all", help="Of all agents.")] = False,
    json: Json = False,
) -> None:
    """Forget what is known of an agent's files, with its history, and have it looked at anew without alerts.

    An agent that is not connected keeps what it has; an OSSEC or Wazuh agent tells its files again at its next scan.

    \b
    Examples:
      hidsctl syscheck clear web1
      hidsctl syscheck clear web1 /srv/app
      hidsctl syscheck clear --all
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    if bool(agent) == all_:
        raise typer.BadParameter("name an agent, or say --all")
    whom = [row["id"] for row in settings.ask("agents") if row["state"] != "removed"] if all_ else [agent]
    done: list[dict[str, Any]] = []
    for each in whom:
        known = settings.ask("agent", agent=each)
        if known["state"] != "connected":
            if not all_:
                fail(f"{plain(known['name'])} is not connected, so it could not be looked at anew", REFUSED)
            continue
        _carry_out(settings, "clear", each, path)
        if "hids" in str(known.get("software", "")):
            settings.ask("syscheck_rescan", agent=each, paths=[path] if path else [], baseline=True)
        done.append({"id": known["id"], "name": known["name"]})
    settings.show(
        done,
        lambda rows: typer.echo(
            "cleared: " + (", ".join(plain(row["name"]) for row in rows) or "no agent is connected")
        ),
        json=json,
    )


@app.command()
def rescan(ctx: typer.Context, agent: AgentKey, path: Below = "", *, json: Json = False) -> None:
    """Have an agent look at its files anew and believe nothing that it remembers of them.

    \b
    Examples:
      hidsctl syscheck rescan web1
      hidsctl syscheck rescan web1 /usr/bin
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    done = settings.ask("syscheck_rescan", agent=agent, paths=[path] if path else [])
    settings.show(done, lambda row: typer.echo(f"{plain(row['name'])} looks anew"), json=json)


@app.command("verify")
def verify_agent(
    ctx: typer.Context,
    agent: AgentKey,
    path: Annotated[str, typer.Argument(help="This directory and those below it; default: all.", metavar="PATH")] = "",
    *,
    wait_s: Annotated[float, typer.Option(min=1, help="Seconds to wait for the agent's answer.")] = 300.0,
    json: Json = False,
) -> None:
    """Prove that an agent remembers of its files what the manager knows of them, directory by directory.

    Where they differ, the agent is told to look anew, and an alert says so.

    \b
    Examples:
      hidsctl syscheck verify web1
      hidsctl syscheck verify web1 /usr --json

    Exit status: 0 they agree, 1 they do not, or the agent did not answer, 3 no manager.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    check = uuid.uuid4().hex
    row = settings.ask("syscheck_verify", agent=agent, where=path, check=check)
    outcome = _await(lambda: _read(settings, lambda files: files.check(check)), wait_s, "the agent has not answered")
    if outcome.differing:
        settings.ask("syscheck_rescan", agent=agent, paths=list(outcome.differing))
    answer = {**row, "agrees": not outcome.differing, **msgspec.to_builtins(outcome)}
    settings.show(answer, _print_outcome, json=json)
    if outcome.differing:
        raise typer.Exit(REFUSED)


# ---- export


@app.command()
def export(
    ctx: typer.Context,
    agent: AgentKey,
    path: Below = "",
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: standard output.")] = None,
) -> None:
    """Write a baseline with the manager's signature, for an archive or another eye: one JSON object a line.

    \b
    Examples:
      hidsctl syscheck export web1 -o web1.baseline
      hidsctl syscheck verify-export web1.baseline
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    row = settings.ask("agent", agent=agent)
    header = Header(FORMAT, row["id"], row["name"], host_name(), SystemClock().now_ms(), path)
    try:
        key = EvidenceKey.open_or_create(settings.paths.evidence)
        entries = Baselines(settings.paths.ledger).below(row["id"], path)
        if output is None:
            write(sys.stdout.buffer, header, entries, key)
            return
        with output.open("wb") as file:
            count = write(file, header, entries, key)
    except (StoreError, OSError) as error:
        fail(str(error), REFUSED)
    typer.echo(f"{output}: {count} paths of {plain(row['name'])}, signed with {fingerprint(key.public)}")


@app.command("verify-export")
def verify_export(
    ctx: typer.Context,
    file: Path,
    *,
    key: Annotated[str, typer.Option(help="Fingerprint (sha256:...) of the key; default: this manager's own.")] = "",
    json: Json = False,
) -> None:
    """Check that an export is whole and as the manager signed it.

    \b
    Examples:
      hidsctl syscheck verify-export web1.baseline
      hidsctl syscheck verify-export web1.baseline --key sha256:9f2c...

    Exit status: 0 it is sound, 1 it is not.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        sound = verify(file)
        own = public_key(settings.paths.evidence)
    except HidsError as error:
        fail(str(error), REFUSED)
    wanted = key or (fingerprint(own) if own else "")
    if not wanted:
        fail("whose key is expected? Say --key sha256:...; on the manager its own is", REFUSED)
    if fingerprint(sound.key) != wanted:
        fail(f"{file}: signed with {fingerprint(sound.key)}, expected {wanted}", REFUSED)
    made = _when(sound.header.made_ms)
    settings.show(
        {"sound": True, "key": fingerprint(sound.key), **msgspec.to_builtins(sound.header), "entries": sound.entries},
        lambda _: typer.echo(f"sound: {sound.entries} paths of {plain(sound.header.name)}, as of {made}"),
        json=json,
    )


# ---- parts


def _read(settings: Settings, question: Callable[[Baselines], Any]) -> Any:
    try:
        return question(Baselines(settings.paths.ledger))
    except StoreError as error:
        fail(str(error), NO_MANAGER)


def _agent(settings: Settings, key: str) -> str:
    """The id; ids need no manager that runs."""
    return key.zfill(3) if key.isdecimal() else settings.ask("agent", agent=key)["id"]


def _order(settings: Settings, what: str, agent: str, path: str, words: str, *, json: bool) -> None:
    row = _carry_out(settings, what, agent, path)
    answer = {**row, "path": path, "done": what}
    settings.show(
        answer, lambda _: typer.echo(f"{plain(row['name'])}: {plain(path) or 'everything'}: {words}"), json=json
    )


def _carry_out(settings: Settings, what: str, agent: str, path: str) -> dict[str, Any]:
    """Have the lane do it, and see that it did."""
    order = uuid.uuid4().hex
    through = _read(settings, lambda files: files.last_change())
    row: dict[str, Any] = settings.ask("syscheck_order", id=order, what=what, agent=agent, where=path, through=through)
    _await(lambda: _read(settings, lambda files: files.is_carried_out(order)), DONE_S, "not done")
    return row


def _await(look: Callable[[], Any], wait_s: float, what: str) -> Any:
    deadline = time.monotonic() + wait_s
    while not (found := look()):
        if time.monotonic() > deadline:
            fail(f"{what} within {wait_s:g} s: is it busy, or was the manager started anew? Repeat it", REFUSED)
        time.sleep(LOOK_S)
    return found


def _row_of(agent: str, baseline: Baseline) -> dict[str, Any]:
    fact = baseline.fact
    said = {name: value for name, value in msgspec.to_builtins(fact).items() if name not in ("seen", "gone", "diff")}
    ignored = baseline.changes >= IGNORED
    return {
        "agent": agent,
        **said,
        "permissions": rights(fact),
        "changes": 0 if ignored else baseline.changes,
        "ignored": ignored,
    }


def _show_entries(settings: Settings, entries: list[Entry], nothing: str, json: bool, as_csv: bool) -> None:  # noqa: FBT001
    rows = [
        {**msgspec.to_builtins(entry), "changed": ", ".join(map(str, entry.told.get("changed_attributes", [])))}
        | {"answer": _answer(entry)}
        for entry in entries
    ]
    columns = ("number", "agent", "at_ms", "event", "changes", "accepted_by", "path", "changed", "answer")
    _show(settings, rows, columns, nothing, json, as_csv)


def _answer(entry: Entry) -> str:
    """Who answers for a change, in words."""
    words: list[str] = []
    package, maintenance = entry.told.get("package"), entry.told.get("maintenance")
    if package:
        words.append(f"{package['name']} {package['version']}: {package['content']}")
    if maintenance:
        words.append(f"maintenance of {maintenance['owner']}")
    return "; ".join(words)


def _show(
    settings: Settings,
    rows: list[dict[str, Any]],
    columns: tuple[str, ...],
    nothing: str,
    json: bool,  # noqa: FBT001
    as_csv: bool,  # noqa: FBT001
) -> None:
    if as_csv and not (json or settings.json):
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([_safe(row[column]) for column in columns] for row in rows)
        return
    settings.show(rows, lambda rows: _print_rows(rows, columns, nothing), json=json)


def _safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    text = plain(str(value))
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def _print_rows(rows: Iterable[dict[str, Any]], columns: tuple[str, ...], nothing: str) -> None:
    """One line each: paths are long, and a table would break them."""
    rows = list(rows)
    if not rows:
        typer.echo(nothing)
        return
    widths = {name: max(len(name), *(len(_cell(name, row)) for row in rows)) for name in columns[:-1]}
    typer.echo("  ".join([*(_HEADINGS.get(name, name).ljust(widths[name]) for name in columns[:-1]), columns[-1]]))
    for row in rows:
        cells = [*(_cell(name, row).ljust(widths[name]) for name in columns[:-1]), _cell(columns[-1], row)]
        typer.echo("  ".join(cells).rstrip())


_HEADINGS = {"at_ms": "time", "last_ms": "last change", "accepted_by": "accepted by"}


def _cell(column: str, row: dict[str, Any]) -> str:
    value = row[column]
    return _when(value) if column.endswith("_ms") else plain(str(value))


def _print_facts(rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        if number:
            typer.echo()
        for name, value in row.items():
            if value not in ("", None, False, [], {}):
                shown = _when(value // 1_000_000) if name == "mtime_ns" else plain(str(value))
                typer.echo(f"{name.removesuffix('_ns').replace('_', ' ')}: {shown}")


def _print_outcome(answer: dict[str, Any]) -> None:
    name = plain(answer["name"])
    if answer["agrees"]:
        typer.echo(f"{name} and the manager agree on {answer['directories']} directories")
        return
    for folder in answer["differing"]:
        typer.echo(plain(folder))
    typer.echo(
        f"{name} and the manager differ in {len(answer['differing'])} directories; it looks at them anew", err=True
    )


def _when(at_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}" if at_ms else ""
