"""What the options before the noun settle, and the two ways to end: with an answer or with words on stderr."""

import sys
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import Any, NoReturn

import typer

from hids.adapters.control import ask
from hids.adapters.paths import ManagerPaths
from hids.core.alert.text import plain
from hids.errors import HidsError, ManagerUnreachable

REFUSED = 1
NO_MANAGER = 3


class Settings:
    """In `ctx.obj` of every command."""

    def __init__(self, paths: ManagerPaths, *, json: bool) -> None:
        self.paths = paths
        self.json = json

    @property
    def search_db(self) -> Path:
        """The index that `hidsctl alerts` reads."""
        return self.paths.search

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask the manager; ends the program with words and a status when it refuses or is not there."""
        try:
            return ask(self.paths.control, command, **arguments)
        except ManagerUnreachable as error:
            fail(str(error), NO_MANAGER)
        except HidsError as error:
            fail(str(error), REFUSED)

    def show(self, answer: Any, human: Callable[[Any], None], *, json: bool) -> None:
        """Print an answer: as JSON when asked for, before or after the noun."""
        if json or self.json:
            typer.echo(dumps(answer, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))
        else:
            human(answer)


def fail(text: str, status: int) -> NoReturn:
    """End with words on stderr."""
    typer.echo("\n".join(f"hidsctl: {plain(line)}" for line in text.splitlines()), err=True)
    raise typer.Exit(status)
