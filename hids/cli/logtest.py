"""`hidsctl logtest`: what the rules say of lines on standard input."""

import sys
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from hids.adapters.clock import SystemClock
from hids.adapters.paths import host_name, shipped
from hids.cli.settings import Settings, fail
from hids.core.alert.text import plain
from hids.errors import ConfigError
from hids.manager.config import read_config
from hids.manager.logtest import Logtest
from hids.messages import MAX_LINE_BYTES, LogLine
from hids.workers.nursery import Folder, compile_all

USAGE = 2


def logtest(
    ctx: typer.Context,
    *,
    ruleset: Annotated[
        Path | None,
        typer.Option("--ruleset", help="Folder of rules; default: those of the manager's configuration."),
    ] = None,
    dialect: Annotated[str, typer.Option(help='Of --ruleset: "hids" or "ossec".')] = "hids",
    config: Annotated[
        Path | None, typer.Option("--config", help="manager.toml to take the rulesets from.")
    ] = None,
    location: Annotated[str, typer.Option(help="Where the lines are said to come from.")] = "stdin",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Try lines: how they are decoded and which rule takes them. Reads standard input until its end.

    Composite rules count the lines of one run, all at the time they are read.

    \b
    Examples:
      tail -1 /var/log/auth.log | hidsctl logtest
      hidsctl logtest --ruleset ./rules --json < lines.txt

    Exit status: 0 done, 2 the rules are refused.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        plans = compile_all(_folders(settings, ruleset, dialect, config))
    except ConfigError as error:
        fail(str(error), USAGE)
    test, clock = Logtest(plans, host_name()), SystemClock()
    people = sys.stdin.isatty()
    if people:
        typer.echo("one log line each, Ctrl-D ends", err=True)
    while raw := sys.stdin.buffer.readline(MAX_LINE_BYTES):
        text = raw.rstrip(b"\r\n")
        if not text:
            continue
        now_ms = clock.now_ms()
        for told in test.test(LogLine(location, text, now_ms, now_ms)):
            typer.echo(dumps(told, ensure_ascii=False) if json or settings.json else _human(told))


def _folders(settings: Settings, ruleset: Path | None, dialect: str, config: Path | None) -> list[Folder]:
    if ruleset is not None:
        return [Folder(ruleset.name, str(ruleset), dialect)]
    path = config or (settings.paths.config if settings.paths.config.exists() else None)
    folders = [
        Folder(rules.name or Path(rules.path).name, rules.path, rules.dialect)
        for rules in read_config(path).ruleset
    ]
    return folders or [Folder("hids", str(shipped("rules")), "hids")]


def _human(told: dict[str, Any]) -> str:
    """In the three phases that OSSEC's users know."""
    lines = [f"ruleset {plain(told['ruleset'])}", "  header"]
    lines += [f"    {key}: {plain(value)}" for key, value in told["header"].items()]
    lines += [f"    log: {plain(told['log'])}", "  decoder"]
    if told["decoder"] is None:
        lines.append("    none")
    else:
        lines.append(
            f"    name: {plain(told['decoder'])}"
            + (f", parent {plain(told['parent'])}" if told["parent"] else "")
        )
        lines += [f"    {key}: {plain(value)}" for key, value in told["fields"].items()]
    lines.append("  rule")
    rule = told["rule"]
    if rule is None:
        lines.append("    none")
    else:
        lines += [
            f"    id: {rule['id']}, level {rule['level']}",
            f"    description: {plain(rule['description'])}",
            f"    groups: {plain(', '.join(rule['groups']))}",
        ]
        lines.append("    " + _outcome(rule))
    return "\n".join(lines)


def _outcome(rule: dict[str, Any]) -> str:
    if rule["silenced"]:
        return "silenced: its ignore time runs for this key"
    if not rule["alert"]:
        return "no alert: level 0"
    counted = f", after {rule['counted']} earlier events" if rule["counted"] else ""
    return f"alert{counted}"
