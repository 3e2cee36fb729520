"""Makes docs/reference/ from what the program itself says: its command lines, and the configuration's defaults.

.venv/bin/python tools/reference.py    # after a change of a command line or of conf/
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from hids.cli import agent, hidsctl, manager

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "docs" / "reference"

PROGRAMS = {"hids-manager": manager.app, "hids-agent": agent.app, "hidsctl": hidsctl.app}
CONFIGURATION = ("manager.toml", "agent.toml")

_MADE = "Made by `tools/reference.py`; edit what it is made from.\n"


def pages() -> dict[str, str]:
    """File name -> text of every page."""
    return {"cli.md": "".join(_command_lines()), "config.md": "".join(_configuration())}


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


def _configuration() -> Iterator[str]:
    yield f"# Configuration\n\n{_MADE}\nAn unknown key is an error. SIGHUP: a running daemon reads its file again.\n"
    for name in CONFIGURATION:
        yield f"\n## {name}\n\n```toml\n{(PROJECT / 'conf' / name).read_text().strip()}\n```\n"


def _command_lines() -> Iterator[str]:
    yield f"# Command lines\n\n{_MADE}"
    for name, app in PROGRAMS.items():
        yield from _command(name, get_command(app))


def _command(path: str, command: Any) -> Iterator[str]:
    """A command and those below it. What typer makes of our functions is not typed: click's or its own classes."""
    yield f"\n## {path}\n\n{_text(command.help or '')}"
    if command.epilog:
        yield f"\n{_text(command.epilog)}"
    rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield "\n| option | meaning |\n|---|---|\n" + "".join(rows)
    for name, below in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", below)


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        spelled = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        spelled = ", ".join(f"`{spelling}`" for spelling in parameter.opts)
    default = parameter.default
    shown = f" Default: {default}." if isinstance(default, int | str) and default not in ("", False) else ""
    needed = " Required." if parameter.required and parameter.param_type_name == "option" else ""
    return f"| {spelled} | {_cell(parameter.help or '')}{shown}{needed} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: str) -> str:
    r"""Help text as Markdown: a paragraph after click's mark `\b` keeps its lines, examples become code."""
    paragraphs = text.strip().split("\n\n")
    return "\n".join(map(_paragraph, paragraphs))


def _paragraph(paragraph: str) -> str:
    lines = paragraph.replace("\b\n", "").splitlines()
    if lines[0].strip() in ("Example:", "Examples:"):
        code = "\n".join(line.strip() for line in lines[1:])
        return f"```sh\n{code}\n```\n"
    if example := re.fullmatch(r"Example: (.*)", paragraph, re.DOTALL):
        return f"Example: `{example[1]}`\n" if "`" not in example[1] else f"Example: {example[1]}\n"
    return "\n".join(line.strip() for line in lines) + "\n"


if __name__ == "__main__":
    main()
