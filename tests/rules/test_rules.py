"""The shipped rules, tried on the lines of the TOML files beside this one.

A `[[case]]` is one line and the rule that it gives (0: none above level 0) when nothing came before it; `fields` are
decoded values ("": not there) and `not` names rules that would be wrong. A `[[sequence]]` is a line sent `times` times,
`every_s` seconds apart, with {n} counting from 1; the lines of `then` follow, and `rule` is what the last line gives.
No line before the last may give that rule if it counts, and none may give a rule of `not`. With `wait_s` so many seconds
pass after the last line, and `rule` is what did not come in that time. With `agents` so many take turns in sending.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hids.core.correlate.correlator import Correlator
from hids.core.correlate.expectations import Sender
from hids.core.correlate.windows import Windows
from hids.core.decode.event import Origin
from hids.core.pattern.pattern import Pattern
from hids.core.pattern.pcre import translate
from hids.core.rules import walk
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import Ruleset, SourceFile
from hids.messages.evaluation import EventOut
from hids.messages.lines import LogLine
from hids.messages.terms import Agent, AgentId, Kind, SourceId

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "rules"
START_MS = 1_795_490_502_000
HOST = Origin(b"web1")
SENDER = Sender(SourceId("agent/001"), Agent(AgentId("001"), "web1", ""), 1, 1)


class Case(msgspec.Struct, forbid_unknown_fields=True, rename={"forbidden": "not"}):
    name: str
    line: str
    rule: int
    location: str = "/var/log/test.log"
    kind: Kind = "log"
    fields: dict[str, str] = {}
    forbidden: list[int] = []


class Sequence(msgspec.Struct, forbid_unknown_fields=True, rename={"forbidden": "not"}):
    name: str
    line: str
    times: int
    every_s: float
    rule: int
    location: str = "/var/log/test.log"
    kind: Kind = "log"
    then: list[str] = []
    wait_s: float = 0
    agents: int = 1
    forbidden: list[int] = []


class Cases(msgspec.Struct, forbid_unknown_fields=True):
    case: list[Case]
    sequence: list[Sequence] = []


TESTS = {path.stem: msgspec.toml.decode(path.read_bytes(), type=Cases) for path in sorted(HERE.glob("*.toml"))}
CASES = [pytest.param(case, id=f"{file}: {case.name}") for file, tests in TESTS.items() for case in tests.case]
SEQUENCES = [pytest.param(test, id=f"{file}: {test.name}") for file, tests in TESTS.items() for test in tests.sequence]


@pytest.fixture(scope="session")
def ruleset() -> Ruleset:
    files = [SourceFile(path.name, path.read_bytes()) for path in sorted(RULES.glob("*.xml"))]
    return load("hids", "hids", files)


@pytest.fixture(scope="session")
def plan(ruleset: Ruleset) -> Plan:
    return compile_plan(ruleset)


def log_line(text: str, test: Case | Sequence, at_ms: int = START_MS) -> LogLine:
    return LogLine(test.location, text.encode("utf-8", "surrogateescape"), at_ms, at_ms, test.kind)


@pytest.mark.parametrize("case", CASES)
def test_a_line_gives_its_rule_and_fields(ruleset: Ruleset, plan: Plan, case: Case):
    line = log_line(case.line, case)
    event, planned = walk.decoded(ruleset, line, HOST), plan.recognise(line, HOST)
    naive = walk.judge(ruleset, event)
    assert plan.judge(planned) == naive
    assert planned.fields == event.fields
    rule = 0
    if naive is not None and (index := walk.base(naive.residual)) >= 0 and ruleset.rules[index].level > 0:
        rule = ruleset.rules[index].id
    assert rule == case.rule
    assert rule not in case.forbidden
    shown = {name: event.fields.get(name, b"").decode("utf-8", "replace") for name in case.fields}
    assert shown == case.fields


def told(plan: Plan, test: Sequence) -> Iterator[int]:
    """Id of the rule that each line of the sequence gives, 0 for none and for one silenced by `ignore`."""
    correlator = Correlator(Windows(lambda _key: None, 1 << 20))
    lines = [*(test.line.replace("{n}", str(n)) for n in range(1, test.times + 1)), *test.then]
    for number, text in enumerate(lines):
        at_ms = START_MS + round(number * test.every_s * 1000)
        line = log_line(text, test, at_ms)
        verdict = plan.judge(
            plan.recognise(line, HOST if test.agents == 1 else Origin(b"web%d" % (number % test.agents)))
        )
        if verdict is None:
            yield 0
            continue
        event = EventOut(number, at_ms, 0, 0, verdict.slots, b"", line.text)
        decision = correlator.decide(plan.table, verdict.residual, event, "001", at_ms, SENDER)
        yield 0 if decision.rule < 0 or decision.silent else plan.table.rules[decision.rule].id
    if test.wait_s:
        until_ms = START_MS + round(((len(lines) - 1) * test.every_s + test.wait_s) * 1000)
        due = correlator.due(plan.table, "001", until_ms, until_ms)
        yield max((plan.table.rules[rule].id for rule, _ in due), default=0)


@pytest.mark.parametrize("test", SEQUENCES)
def test_lines_together_give_their_rule(plan: Plan, test: Sequence):
    rules = list(told(plan, test))
    counts = {row.id for row in plan.table.rules if row.window is not None}

    assert rules[-1] == test.rule
    assert not set(rules) & set(test.forbidden)
    if test.rule in counts:
        assert test.rule not in rules[:-1]


def test_a_composite_speaks_once_in_its_ignore_time(plan: Plan):
    line = "Nov 24 03:21:42 web1 sshd[712]: Failed password for root from 192.0.2.7 port 4{n} ssh2"
    rules = Counter(told(plan, Sequence("", line, times=32, every_s=1, rule=201250)))

    assert rules[201250] == 1
    assert rules[0] == 0, "what would fire again for the same address within 60 s is told as what it is by itself"


def test_every_rule_has_a_line_that_matches_and_one_that_does_not(ruleset: Ruleset):
    tests: list[Case | Sequence] = [test for file in TESTS.values() for test in (*file.case, *file.sequence)]
    positive = {test.rule for test in tests}
    negative = {rule for test in tests for rule in test.forbidden}
    speaking = {rule.id for rule in ruleset.rules if rule.level > 0}
    composites = {rule.id for rule in ruleset.rules if rule.window is not None}
    sequences = [test for file in TESTS.values() for test in file.sequence]

    assert sorted(speaking - positive) == [], "no line gives these rules"
    assert sorted(speaking - negative) == [], "no line shows where these rules must be silent"
    assert sorted(composites - {test.rule for test in sequences}) == []
    assert sorted(composites - {rule for test in sequences for rule in test.forbidden}) == []


@pytest.mark.parametrize("path", sorted(RULES.glob("*.xml")), ids=lambda path: path.name)
def test_a_file_stands_alone_and_keeps_to_its_ids(path: Path):
    first = 200_000 + 100 * int(path.name.split("-")[0])
    ids = [rule.id for rule in load("alone", "hids", [SourceFile(path.name, path.read_bytes())]).rules]

    assert len(ids) == len(set(ids)) > 0
    assert all(first <= rule_id < first + 100 for rule_id in ids)
    assert f"| `{path.name}` | {first}-{first + 99} |" in (RULES / "README.md").read_text()


def patterns(ruleset: Ruleset) -> Iterator[Pattern]:
    tree = ruleset.decoders
    for root in (*tree.with_program, *tree.without_program):
        for decoder in (root, *root.children):
            yield from filter(None, (decoder.program, decoder.prematch, decoder.regex))
    for rule in ruleset.rules:
        for condition in rule.conditions:
            if isinstance(pattern := getattr(condition, "pattern", None), Pattern):
                yield pattern


def test_no_pattern_needs_a_limit_on_its_steps(ruleset: Ruleset):
    """Where the limit stops a pattern it does not match: an attacker could pad a line until it is overlooked."""
    assert [p for p in patterns(ruleset) if translate(p.key[1], caseless=False).risky] == []


HEADS = (
    *(f"Nov 24 03:21:42 web1 {program}: " for program in ("sshd", "sudo", "su", "login", "vsftpd", "postfix/smtpd")),
    "Nov 24 03:21:42 web1 kernel: IN=eth0 OUT= SRC=",
    "Nov 24 03:21:42 web1 sshd: Failed password for invalid user ",
    "Nov 24 03:21:42 web1 sudo: bob : TTY=pts/0 ; PWD=",
    "Nov 24 03:21:42 web1 nginx: 2026/11/24 03:21:42 [error] 7#7: *45 user ",
    "Nov 24 03:21:42 web1 other: ",
    '192.0.2.7 - - [24/Nov/2026:03:21:42 +0000] "GET ',
    "192.0.2.7 - ",
    "[Tue Nov 24 03:21:42.123456 2026] [core:error] [pid 7:tid 8] [client 192.0.2.7:40022] ",
    "Tue Nov 24 03:21:42 2026 [pid 4711] [",
)
FILLERS = (
    "a",
    " ",
    "/",
    "../",
    "' or ",
    "=",
    ";",
    '"',
    '\\"',
    "a=b ",
    " from 1",
    "] ",
    "${",
    "union%20",
    "\\",
    ", client: 1",
    "1.",
)


@pytest.mark.parametrize("head", HEADS)
def test_no_text_makes_a_pattern_slow(ruleset: Ruleset, head: str):
    for filler in FILLERS:
        text = (head + filler * (65_536 // len(filler))).encode()[:65_536]
        started = time.perf_counter()
        walk.judge(ruleset, walk.decoded(ruleset, LogLine("/var/log/test.log", text, START_MS, START_MS), HOST))
        assert time.perf_counter() - started < 1.0, f"{filler!r} repeated"
