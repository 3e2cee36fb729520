"""Which ruleset a command works on, for all commands that load rules themselves."""

from pathlib import Path
from typing import Annotated

import typer

from hids.cli.settings import Settings
from hids.core.dialect import dialect
from hids.manager.config import read_config
from hids.manager.rulesets import folders as configured
from hids.messages.terms import Correlation
from hids.workers.nursery import Folder

USAGE = 2
"""Exit status when what was given cannot be used."""

DialectOption = Annotated[str, typer.Option("--dialect", help='Of the folder: "hids", "ossec" or "wazuh".')]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="manager.toml to take the rulesets from, where no folder is given.")
]
FolderArgument = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="Folder of rules; default: those of the manager's configuration.")
]
CompatOption = Annotated[
    bool, typer.Option("--compat", help="Correlate as OSSEC or Wazuh does, where a folder is given.")
]


def folders(
    settings: Settings, folder: Path | None, speaks: str, config: Path | None, *, compat: bool = False
) -> list[Folder]:
    """The rulesets meant: a folder, or those of the configuration, or those that come with hids.

    Raises:
        ConfigError: a dialect that does not exist, or an unreadable configuration.
    """
    if folder is not None:
        correlation: Correlation = "compat" if compat else "native"
        return [Folder(folder.resolve().name, str(folder), dialect(speaks), correlation)]
    path = config or (settings.paths.config if settings.paths.config.exists() else None)
    return configured(read_config(path))
