"""`hidsctl config`: what the manager sets for its agents: show what would change, try it, take it back."""

import datetime
import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from hids.adapters.shared_configs import read_files
from hids.cli.settings import REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.core.collect.policy import is_policy_file
from hids.core.collect.shared import parse_file, parse_files
from hids.core.policy.texts import check_policies
from hids.errors import ConfigError, HidsError

app = typer.Typer(no_args_is_help=True, help="Set the agents' configuration by group, name and system.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Folder = Annotated[
    Path | None, typer.Option("--folder", help="Where the files are. Default: agents.d beside manager.toml.")
]


_OTHERS = {"manager.toml": "hids-manager", "agent.toml": "hids-agent"}
"""Files that are none of agents.d -> whose `check` reads them."""


@app.command()
def check(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Only this file: a part of agent.toml, or a policy.")
    ] = None,
    *,
    folder: Folder = None,
    json: Json = False,
) -> None:
    """Read the files of agents.d as agents would; no manager is needed. Exit status 1 when one is wrong.

    \b
    manager.toml and an agent's own agent.toml have commands of their own: hids-manager check, hids-agent check.

    \b
    Examples:
      hidsctl config check
      hidsctl config check ./agents.d/web.toml
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    files = _read(settings, folder) if file is None else _read_one(file, folder)
    try:
        parse_files(files)
        check_policies(files)
    except HidsError as error:
        fail(str(error), REFUSED)
    settings.show(
        {"files": sorted(files)},
        lambda _: typer.echo(f"{len(files)} {'file is' if len(files) == 1 else 'files are'} fine"),
        json=json,
    )


@app.command()
def plan(ctx: typer.Context, *, folder: Folder = None, json: Json = False) -> None:
    """Show what `apply` would change: the difference of the files, and the agents that get something else.

    \b
    Examples:
      hidsctl config plan
      hidsctl config plan --folder ./agents.d --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    files = _read(settings, folder)
    answer = settings.ask("config_plan", files=files)
    answer["difference"] = _difference(answer.pop("before"), files)

    def human(_: Any) -> None:
        for line in answer["difference"]:
            typer.echo(plain(line))
        if not answer["agents"]:
            typer.echo("no agent gets anything else than now")
        for row in answer["agents"]:
            state = "" if row["connected"] else ", when it comes back"
            typer.echo(
                f"agent {row['id']} ({plain(row['name'])}): {row['before'] or 'nothing'} -> {row['after'] or 'nothing'}{state}"
            )

    settings.show(answer, human, json=json)


@app.command()
def apply(
    ctx: typer.Context,
    *,
    folder: Folder = None,
    canary: Annotated[
        str, typer.Option(help="Group that tries it first. Default: one connected agent in twenty.")
    ] = "",
    watch: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds that they try it.")] = 60.0,
    all_at_once: Annotated[bool, typer.Option("--all-at-once", help="Nobody tries it first.")] = False,
    json: Json = False,
) -> None:
    """Take the files as a new version: canaries try it, then all get it; if the canaries are not well, it is taken back.

    \b
    Examples:
      hidsctl config apply --canary staging --watch 300
      hidsctl config status
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    files = _read(settings, folder)
    answer = settings.ask("config_apply", files=files, canary=canary, watch_s=watch, all_at_once=all_at_once)

    def human(_: Any) -> None:
        trial = answer["trial"]
        if trial:
            typer.echo(
                f"version {answer['version']} is tried by {', '.join(trial['canaries'])}; see `hidsctl config status`"
            )
        else:
            typer.echo(f"version {answer['version']} is for all")

    settings.show(answer, human, json=json)


@app.command()
def rollback(
    ctx: typer.Context,
    version: Annotated[int, typer.Argument(help="To go back to; default: the one before. 0 sets nothing.")] = -1,
    *,
    json: Json = False,
) -> None:
    """End a trial, or go back to an earlier version, at once and for all.

    \b
    Examples:
      hidsctl config rollback
      hidsctl config rollback 3
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer = settings.ask("config_rollback", version=version)
    settings.show(answer, lambda _: typer.echo(f"version {answer['current']} runs; {plain(answer['last'])}"), json=json)


@app.command()
def status(ctx: typer.Context, *, json: Json = False) -> None:
    """Show which version runs, which is on trial, and how the last trial ended."""
    settings: Settings = ctx.obj
    answer = settings.ask("config_list")

    def human(_: Any) -> None:
        typer.echo(f"version {answer['current']} runs" if answer["current"] else "nothing is set")
        if answer["trial"]:
            trial = answer["trial"]
            typer.echo(
                f"version {trial['number']} is on trial until {_when(trial['until_ms'])} by {', '.join(trial['canaries'])}"
            )
        if answer["last"]:
            typer.echo(f"last: {plain(answer['last'])}")

    settings.show(answer, human, json=json)


@app.command("list")
def list_versions(ctx: typer.Context, *, json: Json = False) -> None:
    """List all versions."""
    settings: Settings = ctx.obj
    answer = settings.ask("config_list")

    def human(_: Any) -> None:
        for version in answer["versions"]:
            mark = "*" if version["number"] == answer["current"] else " "
            files = ", ".join(map(plain, version["files"]))
            typer.echo(f"{mark} {version['number']}  {_when(version['at_ms'])}  {plain(version['by'])}  {files}")

    settings.show(answer, human, json=json)


def _read_one(file: Path, folder: Path | None) -> dict[str, str]:
    """A file of agents.d, with the policies beside it that it names."""
    if folder is not None:
        raise typer.BadParameter("expected a file or --folder, got both", param_hint="FILE")
    if file.is_dir():
        raise typer.BadParameter(f"{file} is a folder: name it with --folder", param_hint="FILE")
    if daemon := _OTHERS.get(file.name):
        raise typer.BadParameter(f"{file} is none of agents.d: {daemon} check --config {file}", param_hint="FILE")
    try:
        beside = read_files(file.parent)
        if file.name not in beside:
            raise ConfigError(
                f"{file}: not there, or not called as a file of agents.d is: web.toml, or web.yml for a policy"
            )
        text = beside.pop(file.name)
        if is_policy_file(file.name):
            return {file.name: text}
        return {file.name: text} | {name: beside[name] for name in _policies_in(text, file.name, beside)}
    except HidsError as error:
        fail(str(error), REFUSED)


def _policies_in(text: str, name: str, beside: dict[str, str]) -> tuple[str, ...]:
    policy = parse_file(text, name, beside).policy
    return () if policy is None else policy.files


def _read(settings: Settings, folder: Path | None) -> dict[str, str]:
    try:
        return read_files(folder or settings.paths.config.parent / "agents.d")
    except HidsError as error:
        fail(str(error), REFUSED)


def _difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, "").splitlines(), after.get(name, "").splitlines()
        lines += difflib.unified_diff(old, new, f"{name} (runs)", f"{name} (new)", lineterm="")
    return lines


def _when(at_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
