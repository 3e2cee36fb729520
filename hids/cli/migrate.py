"""`hidsctl migrate`: what an installation of OSSEC or Wazuh becomes."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hids.adapters.migration import Migration, copy_rules
from hids.adapters.migration import migrate as read_installation
from hids.cli.settings import REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.core.collect.config import parse
from hids.core.collect.policy import is_policy_file
from hids.core.collect.shared import parse_files
from hids.errors import ConfigError, HidsError
from hids.manager.config import read_config

_CENTRAL = "agents.d/"


def migrate(
    ctx: typer.Context,
    home: Annotated[Path, typer.Argument(metavar="HOME", help="Folder of the installation, or a copy of it.")] = Path(
        "/var/ossec"
    ),
    *,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write it into this folder, such as /etc/hids.")
    ] = None,
    dialect: Annotated[str, typer.Option(help='"ossec" or "wazuh"; default: as ossec.conf looks.')] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Turn an installation of OSSEC or Wazuh into manager.toml, agent.toml, agents.d/ and rules; nothing of it is changed.

    What cannot be taken over is named, with its place and what to do instead. Without --to it is only shown.

    \b
    Examples:
      hidsctl migrate                                   look at /var/ossec
      sudo hidsctl migrate /var/ossec --to /etc/hids    write it
      hidsctl migrate ./copy --json | jq -r '.notes[]'

    Exit status: 0 done, 1 it cannot be read, or files are in the way.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    if dialect not in ("", "ossec", "wazuh"):
        raise typer.BadParameter(f'expected "ossec" or "wazuh", got {dialect!r}', param_hint="--dialect")
    folder = settings.paths.config.parent if to is None else to.absolute()
    try:
        found = read_installation(home.absolute(), folder / "rules", dialect)
        files = _files(found)
        if to is not None:
            os.umask(0o022)  # root writes what the manager's user must read; there are no passwords in it
            _write(folder, files, found, home.absolute(), force=force)
            _check(folder, files)
    except HidsError as error:
        fail(str(error), REFUSED)
    answer = {
        "dialect": found.dialect,
        "files": files,
        "rules": [str(path) for path in found.rules],
        "keys": None if found.keys is None else str(found.keys),
        "notes": list(found.notes),
        "written_to": None if to is None else str(folder),
    }
    settings.show(answer, lambda _: _print(found, files, folder, written=to is not None), json=json)


def _files(found: Migration) -> dict[str, str]:
    agent = {"agent.toml": found.agent} if found.agent else {}
    return {"manager.toml": found.manager} | agent | {f"{_CENTRAL}{name}": text for name, text in found.central.items()}


def _write(folder: Path, files: dict[str, str], found: Migration, home: Path, *, force: bool) -> None:
    there = [str(folder / name) for name in (*files, "rules") if (folder / name).exists()]
    if there and not force:
        raise ConfigError(f"{', '.join(there)}: there already; --force writes over it, --to names another folder")
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from error
    if found.rules:
        copy_rules(found, home, folder / "rules")


def _check(folder: Path, files: dict[str, str]) -> None:
    """What was written is what the daemons take."""
    read_config(folder / "manager.toml")
    if "agent.toml" in files:
        parse(files["agent.toml"], str(folder / "agent.toml"))
    parse_files({name.removeprefix(_CENTRAL): text for name, text in files.items() if name.startswith(_CENTRAL)})


def _print(found: Migration, files: dict[str, str], folder: Path, *, written: bool) -> None:
    if not written:
        for name, text in files.items():
            copied = is_policy_file(name.removeprefix(_CENTRAL))
            typer.echo(f"# ---- {folder / name}\n{'# a policy, copied' if copied else _shown(text)}")
    for note in found.notes:
        typer.echo(f"note: {plain(note)}")
    typer.echo(f"\n{found.dialect}: {len(found.rules)} files of decoders and rules, {len(found.notes)} notes")
    if not written:
        typer.echo(f"nothing was written; hidsctl migrate ... --to {folder} does it. Then:")
    else:
        typer.echo(f"written to {folder}; next:")
    for command in _next(found, folder):
        typer.echo(f"  {command}")


def _shown(text: str) -> str:
    return "\n".join(plain(line) for line in text.splitlines())


def _next(found: Migration, folder: Path) -> list[str]:
    steps: list[str] = []
    if found.rules:
        steps.append(f"hidsctl rules certificate {folder / 'rules'} --dialect {found.dialect}")
    steps += [f"hids-manager run --config {folder / 'manager.toml'}", "hidsctl status"]
    if found.keys is not None:
        steps.append(f"hidsctl agent import-keys {found.keys}")
    if found.central:
        steps.append("hidsctl config plan && hidsctl config apply --all-at-once")
    steps.append("hidsctl agent token")
    return [plain(str(step)) for step in steps]
