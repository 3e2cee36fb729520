#!/usr/bin/env python3
"""How far the engine agrees with what OSSEC and Wazuh themselves answered.

Each line of a record file is a case: logs for one fresh engine, and what upstream's engine said of each of them. The
cases run through the same plan and the same correlation as in the manager, in compatible mode. Decoder, fields, rule,
level, alert and groups of every event are compared.

    tools/conformance conformance/ossec/tests/*.jsonl conformance/wazuh/tests/*.jsonl
    tools/conformance --ruleset conformance/wazuh/load.json records.jsonl

Exit status: 0 all agree, 1 some differ, 2 wrong usage or a ruleset that cannot be loaded.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from upstream import Load, LoadError, read_load  # noqa: E402 - the path comes first

from hids.core.rules.load import load  # noqa: E402
from hids.core.rules.plan import Plan, compile_plan  # noqa: E402
from hids.errors import ConfigError  # noqa: E402
from hids.manager.logtest import Logtest  # noqa: E402
from hids.messages.lines import LogLine  # noqa: E402

HOST = "vm"
"""What upstream's answers name the host where a log names none."""
AT_MS = 1_795_521_600_000
"""All events of a case come at one time, a Tuesday noon (UTC), as in upstream's runs time never ran out."""
USAGE = 2
_PRINTED = {"proto": "protocol"}
"""Fields that OSSEC prints under another name than its rule files use."""


class Answer(NamedTuple):
    """What an engine says of one event."""

    decoder: str | None
    fields: dict[str, Any]
    """Flat: nested names joined by dots."""
    rule: str | None
    level: int | None
    alert: bool
    groups: tuple[str, ...] | None
    """As in an alert, where compliance tags stand on their own; None where it was not recorded."""


class Difference(NamedTuple):
    """One member of one event's answer that is not as expected."""

    case: str
    event: int
    """From 1."""
    member: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"  {self.case} [{self.event}] {self.member}: expected {self.expected!r}, got {self.got!r}"


class Engine:
    """A ruleset of upstream's, compiled once; each case gets a state of its own."""

    def __init__(self, order: Load) -> None:
        """Raises RulesetError."""
        self.order = order
        # Upstream's logtest, which gave the answers, keeps no firewall log.
        ruleset = load(order.suite, order.suite, order.files, order.lists, correlation="compat", log_fw=False)
        self.plan: Plan = compile_plan(ruleset)
        self._rows = {row.id: row for row in self.plan.table.rules}

    def answers(self, logs: Sequence[str]) -> Iterator[Answer]:
        """What the engine says of each log of a case."""
        test = Logtest([self.plan], HOST, silences=False)
        for log in logs:
            (told,) = test.test(LogLine("stdin", log.encode("utf-8", "surrogateescape"), AT_MS, AT_MS))
            yield self._answer(told)

    def _answer(self, told: dict[str, Any]) -> Answer:
        rule = told["rule"]
        if rule is None:
            return Answer(told["decoder"], told["fields"], None, None, alert=False, groups=None)
        row = self._rows[rule["id"]]
        written = rule["level"] >= self.order.alert_level
        if self.order.suite == "ossec" and row.log:  # Wazuh's logtest tells of the level alone
            written = row.log > 0
        return Answer(
            decoder=told["decoder"],
            fields=told["fields"],
            rule=str(rule["id"]),
            level=rule["level"],
            alert=written and rule["level"] > 0 and not rule["silenced"],
            groups=tuple(json.loads(b"{" + row.end[1:])["groups"]),
        )


def recorded(case: dict[str, Any]) -> tuple[list[str], list[Answer]]:
    """The logs of a case and what upstream answered to them."""
    extra = case["extra"]
    upstream = extra["upstream"]
    if "unescaped_logs" in extra:
        logs, events = extra["unescaped_logs"], upstream["events_with_unescaped_logs"]
    else:
        logs, events = case["logs"], upstream["events"]
    return logs, [_recorded(event) for event in events]


def _recorded(event: dict[str, Any]) -> Answer:
    groups = event.get("groups")
    return Answer(
        decoder=event["decoder"],
        fields=dict(_flat(event["data"])) if "data" in event else _named(event["fields"]),
        rule=event["rule"],
        level=event["level"],
        alert=event["alert"],
        groups=None if groups is None else tuple(groups),
    )


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as OSSEC prints them -> by the names that decoders and rules use."""
    return {_PRINTED.get(name, name): value for name, value in fields.items()}


def _flat(data: dict[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{head}{name}.")
        else:
            yield head + name, value


def differences(case: dict[str, Any], engine: Engine) -> list[Difference]:
    """Run one case and compare every event."""
    logs, expected = recorded(case)
    found: list[Difference] = []
    for number, (want, got) in enumerate(zip(expected, engine.answers(logs), strict=True), 1):
        for member in Answer._fields:
            mine, theirs = getattr(got, member), getattr(want, member)
            if member == "fields":
                found += [
                    Difference(case["case"], number, f"field {name}", theirs.get(name), mine.get(name))
                    for name in sorted(theirs.keys() | mine.keys())
                    if not _same_field(theirs.get(name), mine.get(name), shown=engine.order.suite == "wazuh")
                ]
            elif mine != theirs and not (member == "groups" and theirs is None):
                found.append(Difference(case["case"], number, member, theirs, mine))
    return found


def _same_field(expected: Any, got: str | None, *, shown: bool) -> bool:
    """An alert of Wazuh's (`shown`) leaves empty fields out, and shows a JSON array as such; as a field it is text."""
    if shown and expected is None:
        return not got
    if isinstance(expected, list) and got is not None:
        with contextlib.suppress(ValueError):
            return bool(json.loads(got) == expected)
    return bool(expected == got)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--ruleset", type=Path, metavar="LOAD.json", help="default: load.json above the file's folder")
    parser.add_argument("--set", dest="which", help="production, testing or rules; default: what upstream tested with")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    options = parser.parse_args(arguments)
    engines: dict[Path, Engine] = {}
    total = agreeing = 0
    report: dict[str, Any] = {}
    try:
        for path in options.files:
            order = options.ruleset or path.resolve().parent.parent / "load.json"
            if order not in engines:
                engines[order] = Engine(read_load(order, options.which))
            cases = read_cases(path, engines[order].order.suite)
            wrong = {case["case"]: found for case in cases if (found := differences(case, engines[order]))}
            total, agreeing = total + len(cases), agreeing + len(cases) - len(wrong)
            print(f"{path.parent.parent.name}/{path.name}: {len(cases) - len(wrong)} of {len(cases)}")
            for difference in (difference for found in wrong.values() for difference in found):
                print(difference)
            report[str(path)] = {"agree": len(cases) - len(wrong), "cases": len(cases), "differ": sorted(wrong)}
    except (LoadError, ConfigError) as error:
        print(error, file=sys.stderr)
        return USAGE
    print(f"total: {agreeing} of {total}")
    if options.json:
        print(json.dumps({"agree": agreeing, "cases": total, "files": report}))
    return int(agreeing != total)


def read_cases(path: Path, suite: str) -> list[dict[str, Any]]:
    """The records of a file, all of which must be of `suite`. Raises LoadError."""
    try:
        cases: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines() if line]
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: expected a file with one JSON object a line: {error}") from error
    for number, case in enumerate(cases, 1):
        if case.get("suite") != suite:
            raise LoadError(f"{path}:{number}: a case of {case.get('suite')!r}, but the ruleset is of {suite!r}")
    return cases


if __name__ == "__main__":
    sys.exit(main())
