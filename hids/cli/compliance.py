"""`hidsctl alerts compliance`: alerts by the requirements of PCI DSS, NIST 800-53 and the like that they are about."""

import re
from datetime import datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.adapters.clock import SystemClock
from hids.adapters.search import RequirementRow, Search
from hids.cli.alerts import NO_INDEX, NOT_FOUND
from hids.cli.settings import Settings, fail
from hids.cli.times import moment
from hids.core.alert.text import plain
from hids.core.rules.compliance import FRAMEWORKS
from hids.errors import StoreError

_SHOWN_RULES = 5
_NUMBERS = re.compile(r"(\d+)")


def compliance(
    ctx: typer.Context,
    *,
    framework: Annotated[
        str, typer.Option(metavar="NAME", help=f"One of {', '.join(FRAMEWORKS)}, or all.")
    ] = "pci_dss",
    since: Annotated[
        str, typer.Option(help="From this time on: 10m, 2h, 3d, or 2026-11-24T03:21 (local unless it has a zone).")
    ] = "7d",
    level: Annotated[int, typer.Option(metavar="0-16", min=0, max=16, help="This level or higher.")] = 0,
    agent: Annotated[str | None, typer.Option(metavar="AGENT", help="Of this agent: id or name.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, one list.")] = False,
) -> None:
    """Count alerts by the requirements of a framework, as the groups of their rules say.

    \b
    Examples:
      hidsctl alerts compliance --framework pci_dss --since 30d
      hidsctl alerts compliance --framework nist_800_53 --agent web1 --json
      hidsctl alerts --group pci_dss_10.2.4 --since 30d      (the alerts themselves)

    Exit code: 0 found, 1 none found, 2 wrong usage, 3 no index yet.
    """  # noqa: D301 - click's mark for lines that stay as they are
    if framework not in (*FRAMEWORKS, "all"):
        raise typer.BadParameter(
            f"expected {', '.join(FRAMEWORKS)} or all, got {plain(framework)!r}", param_hint="--framework"
        )
    settings: Settings = ctx.obj
    since_ms = moment(since, "--since", SystemClock().now_ms()) or 0
    wanted = FRAMEWORKS if framework == "all" else (framework,)
    try:
        search = Search(settings.search_db)
        rows = [
            row for name in wanted for row in search.compliance(name, since_ms=since_ms, level_min=level, agent=agent)
        ]
        search.close()
    except StoreError as error:
        fail(str(error), NO_INDEX)
    rows.sort(key=lambda row: (list(FRAMEWORKS).index(row.framework), _natural(row.requirement)))
    settings.show(msgspec.to_builtins(rows), lambda _: _print(rows), json=json)
    if not rows:
        raise typer.Exit(NOT_FOUND)


def _print(rows: list[RequirementRow]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("framework", "requirement", "alerts", "level", "agents", "last", "rules"):
        table.add_column(heading, justify="right" if heading in ("alerts", "level", "agents") else "left")
    for row in rows:
        rules = ", ".join(map(str, row.rules[:_SHOWN_RULES])) + (" ..." if len(row.rules) > _SHOWN_RULES else "")
        cells = (
            *(FRAMEWORKS[row.framework], row.requirement, str(row.alerts), str(row.level), str(len(row.agents))),
            *(f"{datetime.fromtimestamp(row.last_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}", rules),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    if rows:
        Console(highlight=False, soft_wrap=True).print(table)


def _natural(requirement: str) -> list[tuple[int, int | str]]:
    """Sorts 2.2 before 10.1."""
    return [(0, int(part[:18])) if part.isdecimal() else (1, part) for part in _NUMBERS.split(requirement) if part]
