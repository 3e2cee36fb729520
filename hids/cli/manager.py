"""`hids-manager`: the manager daemon's command line."""

from pathlib import Path
from typing import Annotated

import typer

import hids
from hids.adapters.paths import ManagerPaths
from hids.core.alert.text import plain
from hids.errors import ConfigError, HidsError
from hids.manager.config import read_config
from hids.manager.run import EX_CONFIG, run

app = typer.Typer(
    name="hids-manager",
    help="The hids manager: takes agents' logs, decodes, matches, correlates, alerts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _version_only() -> None:
    """The hids manager: takes agents' logs, decodes, matches, correlates, alerts."""


@app.command("run")
def run_command(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="manager.toml; without it the one of the state folder, if any."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Keep everything in this folder instead of the usual places."),
    ] = None,
) -> None:
    """Run in the foreground until SIGTERM.

    \b
    SIGHUP reads manager.toml and the rules anew; SIGUSR1 prints every thread's stack.
    Exit status: 0 stopped, 2 something to mend in the configuration, 70 gave up (let the service manager restart it).

    \b
    Examples:
      hids-manager run
      hids-manager run --config /etc/hids/manager.toml --state /srv/hids
    """  # noqa: D301 - click's mark for lines that stay as they are
    try:
        status = run(config, ManagerPaths.of(state))
    except ConfigError as error:
        typer.echo(f"hids-manager: {error}", err=True)
        raise typer.Exit(EX_CONFIG) from error
    except HidsError as error:
        typer.echo(f"hids-manager: {error}", err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        typer.echo(f"hids-manager: {error.filename or ''}: {error.strerror}", err=True)
        raise typer.Exit(EX_CONFIG) from error
    raise typer.Exit(status)


@app.command("check")
def check_command(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", help="manager.toml; without it the one that `run` would read.")
    ] = None,
    state: Annotated[Path | None, typer.Option("--state", help="The folder that `run --state` names.")] = None,
) -> None:
    """Read manager.toml as `run` would, and say what is wrong; nothing is started, and no port or folder is touched.

    \b
    Rules have a check of their own: hidsctl rules check. Files that it names, such as passwords, are read only by `run`.
    Exit status: 0 it can be used, 2 something to mend in it.

    \b
    Examples:
      hids-manager check
      hids-manager check --config ./manager.toml && systemctl reload hids-manager
    """  # noqa: D301 - click's mark for lines that stay as they are
    paths = ManagerPaths.of(state)
    path = config or (paths.config if paths.config.exists() else None)
    try:
        read_config(path)
    except ConfigError as error:
        typer.echo("\n".join(f"hids-manager: {plain(line)}" for line in str(error).splitlines()), err=True)
        raise typer.Exit(EX_CONFIG) from error
    typer.echo(
        f"{plain(str(path))} can be used" if path else f"{paths.config} is not there: all keys are at their defaults"
    )


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(f"hids {hids.__version__}")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
