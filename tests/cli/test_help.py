"""The help of every command: what is written is what people see."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from hids.cli import agent, hidsctl, manager

_MARKUP = re.compile(r"\[/?[a-z_][a-z_ .]*\]")
"""What the library that draws help takes for a style, and leaves out."""


def texts(name: str, command: Any) -> Iterator[tuple[str, str]]:
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    for below, each in getattr(command, "commands", {}).items():
        yield from texts(f"{name} {below}", each)


@pytest.mark.parametrize("app", [hidsctl.app, manager.app, agent.app])
def test_no_word_is_lost(app: Any) -> None:
    found = dict(texts("", get_command(app)))
    assert len(found) > 5
    assert {place: text for place, text in found.items() if _MARKUP.search(text)} == {}
