"""`hidsctl status`: the actor tree as it lives."""

import datetime
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.cli.settings import Settings
from hids.core.alert.text import plain

HEADINGS = ("actor", "state", "mailbox", "handled", "per s", "restarts", "pid", "cpu %", "MiB")
LEFT = 2
"""So many columns are words."""
PIPE_WIDTH = 180
"""Columns when no terminal says how wide it is."""
ROOMY_WIDTH = 120
"""A narrower terminal gets no column of facts; `--json` has them."""

_SHOWN_APART = {"pid", "cpu_percent", "cpu_s", "rss_mib"}


def status(
    ctx: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Show the manager's actor tree: mailboxes, rates, restarts, last failures, processes.

    \b
    Examples:
      hidsctl status
      hidsctl status --json | jq '.tree.children[].name'

    Exit status: 0 all is running, 1 something is not, 3 no manager answers.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answer = settings.ask("status")
    settings.show(answer, _print, json=json)
    if not _whole(answer["tree"]):
        raise typer.Exit(1)


def _whole(node: dict[str, Any]) -> bool:
    """Whether everything in the tree runs."""
    return node["state"] == "running" and all(map(_whole, node["children"]))


def _print(answer: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    roomy = console.width >= ROOMY_WIDTH
    rulesets = ", ".join(f"{ruleset['name']} ({ruleset['rules']} rules)" for ruleset in answer["rulesets"])
    uptime = datetime.timedelta(seconds=int(answer["uptime_s"]))
    console.print(
        Text(
            f"hids {answer['version']} on {answer['name']}, up {uptime}, agents on port {answer['listen']['agents']}, "
            f"joining on {answer['listen']['join']}, {answer['agents_connected']} connected"
        )
    )
    console.print(Text(f"rulesets: {rulesets or 'loading'}"))
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    rows = list(_rows(answer["tree"], "", ""))
    for place, heading in enumerate(HEADINGS):
        width = max(len(heading), *(len(row[place]) for row in rows))
        table.add_column(heading, justify="left" if place < LEFT else "right", no_wrap=True, min_width=width)
    if roomy:
        table.add_column("facts", overflow="fold")
    for row in rows:
        table.add_row(*(row if roomy else row[:-1]))
    console.print(table)
    for node in _failed(answer["tree"]):
        when = datetime.datetime.fromtimestamp(node["last_failure_ms"] / 1000).astimezone()
        console.print(Text(f"last failure of {node['name']}, {when:%H:%M:%S}: {plain(node['last_failure'])}"))


def _rows(node: dict[str, Any], lead: str, below: str) -> Iterator[tuple[Text, ...]]:
    """A row for the node and each one below it."""
    facts = node["facts"]
    shown = (f"{key} {plain(str(value))}" for key, value in facts.items() if key not in _SHOWN_APART and value != "")
    yield tuple(
        cell if isinstance(cell, Text) else Text(cell)
        for cell in (
            lead + node["name"],
            Text(node["state"], style="green" if node["state"] == "running" else "bold red"),
            f"{node['mailbox']['depth']}/{_short(node['mailbox']['bound'])}",
            str(node["handled"]),
            f"{node['per_s']:g}",
            Text(str(node["restarts"]), style="yellow" if node["restarts"] else ""),
            str(facts.get("pid", "")),
            f"{facts['cpu_percent']:.1f}" if "cpu_percent" in facts else "",
            str(facts.get("rss_mib", "")),
            ", ".join(shown),
        )
    )
    children = node["children"]
    for index, child in enumerate(children):
        last = index == len(children) - 1
        yield from _rows(child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))


def _short(number: int) -> str:
    """A bound in few letters: 200k for 200,000."""
    return f"{number // 1000}k" if number >= 1000 else str(number)  # noqa: PLR2004 - that is what k means


def _failed(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Nodes that have failed at some time, in the tree's order."""
    found = [node] if node["last_failure"] else []
    for child in node["children"]:
        found += _failed(child)
    return found
