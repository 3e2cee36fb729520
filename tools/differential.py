#!/usr/bin/env python3
"""The generated plans against the naive walk: the same answer, in every field, for every line.

Each line is judged by the plan twice (the second answer is remembered) and by the walk that asks every decoder and every
rule. Residual, slots, decoder, fields, descriptions and what an alert would show must be equal.

    tools/differential --rules DIR --dialect ossec access.log realistic.log.xz
    tools/differential --load-json conformance/wazuh/load.json --every 10 realistic.log.xz

Exit status: 0 no difference, 1 some, 2 wrong usage.
"""

import argparse
import itertools
import lzma
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from upstream import LoadError, read_load  # noqa: E402 - the path comes first

from hids.core.decode.event import Event, Origin  # noqa: E402
from hids.core.rules.load import load  # noqa: E402
from hids.core.rules.plan import Plan, compile_plan  # noqa: E402
from hids.core.rules.render import sender_members, tail  # noqa: E402
from hids.core.rules.rule import Ruleset  # noqa: E402
from hids.core.rules.walk import Verdict, decoded, judge  # noqa: E402
from hids.errors import ConfigError  # noqa: E402
from hids.messages.lines import LogLine  # noqa: E402
from hids.messages.terms import Agent, AgentId  # noqa: E402
from hids.workers.nursery import Folder, load_folder  # noqa: E402

USAGE = 2
SHOWN = 20
"""Differences that are printed."""
ORIGIN = Origin(b"web1", b"(web1) 192.0.2.1")
AT_MS = 1_795_521_600_000
SENDER = sender_members(Agent(AgentId("001"), "web1", "192.0.2.1"), "manager")

_MEMBERS = ("residual", "slots", "descriptions", "full_log", "decoder", "fields", "alert")


def told(verdict: Verdict | None, event: Event) -> tuple[object, ...] | None:
    """All that leaves the worker of one answer, in the order of `_MEMBERS`."""
    if verdict is None:
        return None
    alert = tail(event, event.line, SENDER, full_log=verdict.full_log)
    return (
        *(verdict.residual, verdict.slots, verdict.descriptions, verdict.full_log),
        *(event.decoder, event.fields, alert),
    )


def differences(plan: Plan, line: LogLine) -> Iterator[str]:
    """What the plan says otherwise than the naive walk, in words."""
    naive = decoded(plan.ruleset, line, ORIGIN)
    expected = told(judge(plan.ruleset, naive), naive)
    for turn in ("first", "remembered"):
        event = plan.recognise(line, ORIGIN)
        got = told(plan.judge(event), event)
        if got == expected:
            continue
        if got is None or expected is None:
            yield f"{turn}: {'nothing' if got is None else 'a verdict'}, the walk says otherwise"
            continue
        for member, ours, theirs in zip(_MEMBERS, got, expected, strict=True):
            if ours != theirs:
                yield f"{turn}, {member}: {ours!r}, the walk says {theirs!r}"


def lines_of(path: Path, every: int) -> Iterator[LogLine]:
    """Every n-th line of a log file, plain or .xz."""
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
        for text in itertools.islice(file, 0, None, every):
            yield LogLine("/var/log/messages", text.rstrip(b"\r\n"), AT_MS, AT_MS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="log files, plain or .xz")
    parser.add_argument("--rules", type=Path, default=ROOT / "rules", help="folder of rules; default: our own")
    parser.add_argument("--dialect", default="hids", help="of the folder")
    parser.add_argument("--load-json", type=Path, help="a load.json that names the files, instead of a folder")
    parser.add_argument("--every", type=int, default=1, help="take every n-th line only")
    options = parser.parse_args(arguments)
    try:
        plan = compile_plan(_ruleset(options.load_json, options.rules, options.dialect))
        count, found = _compare(plan, itertools.chain.from_iterable(lines_of(p, options.every) for p in options.logs))
    except (ConfigError, LoadError, OSError, lzma.LZMAError) as error:
        print(error, file=sys.stderr)
        return USAGE
    print(f"{plan.ruleset.name}: {count} lines, {found} differ")
    return 1 if found else 0


def _ruleset(load_json: Path | None, rules: Path, dialect: str) -> Ruleset:
    if load_json is None:
        return load_folder(Folder(rules.resolve().name, str(rules), dialect))
    order = read_load(load_json)
    return load(order.suite, order.suite, order.files, order.lists)


def _compare(plan: Plan, lines: Iterator[LogLine]) -> tuple[int, int]:
    count = found = 0
    for count, line in enumerate(lines, 1):  # noqa: B007 - the last one is the answer
        wrong = list(differences(plan, line))
        found += bool(wrong)
        if wrong and found <= SHOWN:
            print(f"{line.text[:200]!r}", *wrong, sep="\n  ")
    return count, found


if __name__ == "__main__":
    sys.exit(main())
