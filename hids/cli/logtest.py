"""`hidsctl logtest`: what the rules say of lines that are typed or come on standard input."""

import sys
from datetime import datetime
from json import dumps
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from hids.adapters.clock import SystemClock
from hids.adapters.paths import host_name
from hids.cli.rulesets import USAGE, CompatOption, ConfigOption, DialectOption, folders
from hids.cli.settings import Settings, fail
from hids.core.alert.text import plain
from hids.core.decode.event import Origin
from hids.core.rules.plan import Plan
from hids.core.rules.trace import Step, trace
from hids.core.rules.walk import decoded
from hids.errors import ConfigError
from hids.manager.logtest import Logtest
from hids.messages.lines import MAX_LINE_BYTES, LogLine
from hids.messages.terms import Kind
from hids.workers.nursery import compile_all

_FORMATS: dict[str, Kind] = {"syslog": "log", "json": "log", "log": "log", "agent": "agent", "syscheck": "syscheck"}
"""What lines may be said to be; text of any log is one kind, the decoders tell what is in it."""


_YEAR_S = 31_536_000


class _Clock(NamedTuple):
    """When lines come: now, or at a time of the caller's that moves by a step each line."""

    start_ms: int | None
    step_ms: int

    def at(self, number: int, now_ms: int) -> int:
        """Time of the line of this number, from 0."""
        return (now_ms if self.start_ms is None else self.start_ms) + number * self.step_ms


def logtest(
    ctx: typer.Context,
    *,
    ruleset: Annotated[
        Path | None,
        typer.Option("--ruleset", help="Folder of rules; default: those of the manager's configuration."),
    ] = None,
    dialect: DialectOption = "hids",
    config: ConfigOption = None,
    compat: CompatOption = False,
    location: Annotated[str, typer.Option(help="Where the lines are said to come from.")] = "stdin",
    agent: Annotated[str, typer.Option(help="Name of the agent that is said to have sent them.")] = "",
    format_: Annotated[str, typer.Option("--format", help=f"What the lines are: {', '.join(_FORMATS)}.")] = "syslog",
    time: Annotated[
        str, typer.Option("--time", help="Time of the first line, such as 2026-11-24T12:00:00Z; default: now.")
    ] = "",
    every: Annotated[float, typer.Option("--every", min=0, max=_YEAR_S, help="Seconds from one line to the next.")] = 0,
    verbose: Annotated[
        bool,
        typer.Option("-v", "--verbose", help="Tell each decoder and rule tried, and the first condition that failed."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line and ruleset.")] = False,
) -> None:
    """Try lines: how they are decoded and which rule takes them. Reads standard input until its end.

    The lines of one run are one history: composite rules count them, and each line says how far they are ("counting").
    At a terminal each line is answered as it is typed.

    \b
    Examples:
      tail -1 /var/log/auth.log | hidsctl logtest -v
      hidsctl logtest --ruleset ./rules --json < lines.txt
      hidsctl logtest --time 2026-11-24T12:00:00Z --every 30 < attack.txt

    Exit status: 0 done, 2 the rules are refused.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    clock = _Clock(_time(time), round(every * 1000))
    kind = _FORMATS.get(format_)
    if kind is None:
        fail(f"--format: expected one of {', '.join(_FORMATS)}, got {format_!r}", USAGE)
    try:
        plans = compile_all(folders(settings, ruleset, dialect, config, compat=compat))
    except ConfigError as error:
        fail(str(error), USAGE)
    host = agent or host_name()
    test, system, number = Logtest(plans, host), SystemClock(), 0
    people = sys.stdin.isatty()
    if people:
        typer.echo("one log line each, Ctrl-D ends", err=True)
    while raw := sys.stdin.buffer.readline(MAX_LINE_BYTES):
        text = raw.rstrip(b"\r\n")
        if not text:
            continue
        at_ms = clock.at(number, system.now_ms())
        line = LogLine(location, text, at_ms, at_ms, kind)
        number += 1
        for plan, told in zip(plans, test.test(line), strict=True):
            steps = _steps(plan, line, host) if verbose else []
            if json or settings.json:
                more = {"tried": msgspec.to_builtins(steps)} if verbose else {}
                typer.echo(dumps(told | more, ensure_ascii=False))
            else:
                typer.echo(_human(told, steps))


def _time(text: str) -> int | None:
    if not text:
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        fail(f"--time: expected a time such as 2026-11-24T12:00:00Z, got {text!r}", USAGE)


def _steps(plan: Plan, line: LogLine, host: str) -> list[Step]:
    return trace(plan.ruleset, decoded(plan.ruleset, line, Origin(host.encode())))


def _human(told: dict[str, Any], steps: list[Step]) -> str:
    """In the three phases that OSSEC's users know."""
    lines = [f"ruleset {plain(told['ruleset'])}"]
    lines += [f"  did not come in time: {_named(rule)}" for rule in told["missed"]]
    lines.append("  header")
    lines += [f"    {key}: {plain(value)}" for key, value in told["header"].items()]
    lines += [f"    log: {plain(told['log'])}", "  decoder"]
    lines += _tried(steps, "decoder")
    if told["decoder"] is None:
        lines.append("    none")
    else:
        parent = f", parent {plain(told['parent'])}" if told["parent"] else ""
        lines.append(f"    name: {plain(told['decoder'])}{parent}")
        lines += [f"    {key}: {plain(value)}" for key, value in told["fields"].items()]
    lines.append("  rule")
    lines += _tried(steps, "rule")
    rule = told["rule"]
    if rule is None:
        lines.append("    none")
    else:
        lines += [
            f"    id: {rule['id']}, level {rule['level']}",
            f"    description: {plain(rule['description'])}",
            f"    groups: {plain(', '.join(rule['groups']))}",
            "    " + _outcome(rule),
        ]
        lines += [f"    and rule {_named(other)}: {_outcome(other)}" for other in rule["also"]]
    lines += [
        f"    counting: rule {counting['id']}, {counting['have']} of {counting['of']} within {counting['timeframe_s']} s"
        for counting in told["counting"]
    ]
    return "\n".join(lines)


_MARKS = {"yes": "+", "no": "-", "asks": "?"}


def _tried(steps: list[Step], kind: str) -> list[str]:
    return [
        f"    {_MARKS[step.outcome]} {'  ' * step.depth}{plain(step.name)}"
        + (f": {plain(step.why)}" if step.why else "")
        for step in steps
        if step.kind == kind
    ]


def _named(rule: dict[str, Any]) -> str:
    return f"{rule['id']}, level {rule['level']}, {plain(rule['description'])}"


def _outcome(rule: dict[str, Any]) -> str:
    if rule["silenced"]:
        return "silenced: its ignore time runs"
    if not rule["alert"]:
        return "no alert" + (": level 0" if rule["level"] == 0 else "")
    counted = f", after {rule['counted']} earlier events" if rule["counted"] else ""
    return f"alert{counted}"
