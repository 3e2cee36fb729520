"""The plan must say of every line what the naive walk says."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.core.decode.event import Origin
from hids.core.rules import plan as plan_module
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import Ruleset, SourceFile
from hids.core.rules.walk import decoded, judge
from hids.messages.lines import LogLine

Make = Callable[..., Ruleset]
Line = Callable[..., LogLine]


def same(plan: Plan, line: LogLine, host: bytes | None = None) -> None:
    """Twice: the second time the answer is remembered."""
    naive = decoded(plan.ruleset, line, Origin(host))
    expected = judge(plan.ruleset, naive)
    for _ in range(2):
        event = plan.recognise(line, Origin(host))
        verdict = plan.judge(event)
        assert (verdict is None) == (expected is None), line
        if verdict is None or expected is None:
            continue
        assert verdict == expected, line
        assert event.decoder is naive.decoder
        assert event.fields == naive.fields
    if plan.notice(line, Origin(host)) is None:
        assert expected is None


def walked(plan: Plan, line: LogLine) -> bool:
    """Whether the plan has an answer for the line of its own."""
    reading = plan.recognise(line).reading
    return isinstance(reading, plan_module._Known) and reading.chosen is not None


# ---- generated rulesets --------------------------------------------------------------------------------------

WORDS = ["ab", "bc", "a", "x1", "22", "foo", "é", " ", "abab"]
OSSEC_PATTERNS = st.sampled_from(
    ["ab", "^ab", "bc$", "a|foo", "^a b", r"\d+", r"^(\w+) (\w+)", r"=(\S+)", "é", r"o\s2", r"\.b"]
)
PCRE_PATTERNS = st.sampled_from(
    [
        "ab",
        "^ab",
        "bc$",
        "a|foo",
        r"^\S+ b",
        r"\d+",
        "(?i)FOO",
        "foo(?! )",
        r"\bab\b",
        "é",
        r"(?\<=a)b",
        r"[^a]b$",
        "abab",
    ]
)


@st.composite
def decoders(draw: st.DrawFn, patterns: st.SearchStrategy[str]) -> str:
    text = ""
    for name in ("p", "q"):
        program = (
            f"<program_name>{draw(st.sampled_from(['^app', '^app$', 'foo']))}</program_name>"
            if draw(st.booleans())
            else ""
        )
        prematch = f"<prematch>{draw(patterns)}</prematch>" if not program or draw(st.booleans()) else ""
        text += f"<decoder name='{name}'>{program}{prematch}</decoder>\n"
        for child in draw(st.lists(st.sampled_from(["c", "d"]), max_size=3)):
            first = f"<decoder name='{name}{child}'>" not in text
            offset = draw(st.sampled_from(["", " offset='after_parent'"]))
            own = "<use_own_name>true</use_own_name>" if draw(st.booleans()) else ""
            pre = f"<prematch{offset}>{draw(patterns)}</prematch>" if first and draw(st.booleans()) else ""
            order = draw(st.sampled_from(["srcip,id", "user", "n,m", "id"]))
            start = draw(st.sampled_from(["", " offset='after_parent'"]))
            text += (
                f"<decoder name='{name}{child}'><parent>{name}</parent>{own}{pre}"
                f"<regex{start}>({draw(patterns).removeprefix('^').removesuffix('$')})</regex><order>{order}</order></decoder>\n"
            )
    return text


@st.composite
def rules(draw: st.DrawFn, patterns: st.SearchStrategy[str], first: int) -> str:
    text = ""
    count = draw(st.integers(2, 8))
    for number in range(count):
        body, attributes = "", ""
        level = draw(st.sampled_from([0, 1, 3, 5, 7]))
        if number and draw(st.booleans()):
            parent = first + draw(st.integers(0, number - 1))
            if draw(st.integers(0, 2)) == 0:
                body += f"<if_matched_sid>{parent}</if_matched_sid>"
                attributes = ' frequency="3"'
                level = max(level, 1)
                body += draw(st.sampled_from(["", "<same_source_ip/>", "<same_user/>"]))
            else:
                body += f"<if_sid>{parent}</if_sid>"
        if draw(st.booleans()):
            body += f"<decoded_as>{draw(st.sampled_from(['p', 'q']))}</decoded_as>"
        for element in draw(
            st.sets(st.sampled_from(["match", "regex", "id", "user", "program_name", "hostname"]), max_size=2)
        ):
            pattern = draw(patterns)
            body += f"<{element}>{pattern}</{element}>"
        if draw(st.integers(0, 4)) == 0:
            body += f"<field name='n'>{draw(patterns)}</field>"
        noalert = ' noalert="yes"' if draw(st.integers(0, 5)) == 0 else ""
        body += "<description>d</description>"
        text += f'<rule id="{first + number}" level="{level}"{attributes}{noalert}>{body}</rule>\n'
    return f'<group name="g,">\n{text}</group>'


LOGS = st.lists(st.sampled_from([*WORDS, "=", ".", "\n", "app: "]), max_size=7).map("".join)
LINES = st.tuples(
    st.sampled_from(["", "Dec 29 10:00:01 h1 app: ", "Dec 29 10:00:01 ab apple: ", "Dec 29 10:00:01 h1 foo[1]: "]), LOGS
).map("".join)


def compare(ruleset: Ruleset, lines: Sequence[str]) -> None:
    plan = compile_plan(ruleset)
    for text in lines:
        same(plan, LogLine("f", text.encode(), 0, 0))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(decoders(PCRE_PATTERNS), rules(PCRE_PATTERNS, 200_000), st.lists(LINES, max_size=25))
def test_rulesets_of_ours(tree: str, tail: str, lines: list[str]) -> None:
    compare(load("n", "hids", [SourceFile("r.xml", (tree + tail).encode())]), lines)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(decoders(OSSEC_PATTERNS), rules(OSSEC_PATTERNS, 100_000), st.lists(LINES, max_size=25))
def test_rulesets_of_ossec(tree: str, tail: str, lines: list[str]) -> None:
    template = '<group name="syslog"><rule id="1" level="0" noalert="1"><category>syslog</category></rule></group>'
    compare(load("n", "ossec", [SourceFile("r.xml", (template + tree + tail).encode())]), lines)


# ---- our own rules -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> Plan:
    folder = Path(__file__).parents[3] / "rules"
    files = [SourceFile(path.name, path.read_bytes()) for path in sorted(folder.glob("*.xml"))]
    return compile_plan(load("rules", "hids", files))


PROGRAMS = ["sshd", "sudo", "su", "CRON", "kernel", "postfix/smtpd", "vsftpd", "systemd", "useradd", "nobody"]
PIECES = [
    *(
        "Failed password for ",
        "invalid user ",
        "Accepted publickey for ",
        "root",
        "joe",
        " from 192.0.2.7 port 22 ssh2",
    ),
    *(
        "pam_unix(sshd:auth): authentication failure; ",
        "user=joe",
        "session opened for user ",
        "COMMAND=/bin/sh",
        " ; ",
    ),
    *(
        "192.0.2.7 - - [24/Nov/2026:10:00:00 +0000] ",
        '"GET /a?b=',
        "../../etc/passwd",
        "union select",
        ' HTTP/1.1" 404 12',
    ),
    *("segfault at 0", "error", "Out of memory", "new user: name=x", "refused", "\xe9", "\n", ":", " "),
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.sampled_from([*PROGRAMS, None]), pieces=st.lists(st.sampled_from(PIECES), max_size=6))
def test_lines_for_our_own_rules(shipped: Plan, program: str | None, pieces: list[str]) -> None:
    head = "" if program is None else f"Nov 24 03:21:42 web1 {program}[7]: "
    same(shipped, LogLine("/var/log/x", (head + "".join(pieces)).encode(), 0, 0), b"web1")


INEXACT = """<decoder name="d"><prematch>^zz</prematch><regex>(z)</regex><order>id</order></decoder>
<group name="g">
<rule id="200001" level="7"><match>a(?=b)</match><field name="id">x</field><description>never</description></rule>
<rule id="200002" level="6"><match>c(?=d)</match><match>c</match><description>d</description></rule>
<rule id="200003" level="5"><match>e(?=f)</match><description>d</description></rule>
</group>""".replace("<match>c</match>", "<regex>c</regex>")


PARTS = ["ab", "a", "cd", "c", "ef", "e"]


PARTS_OF_LINES = ["".join(parts) for count in range(3) for parts in itertools.product(PARTS, repeat=count)]


@settings(max_examples=40)
@given(st.permutations(PARTS_OF_LINES))
def test_rules_that_cannot_be_reached_leave_no_trace(lines: list[str]) -> None:
    compare(load("n", "hids", [SourceFile("r.xml", INEXACT.encode())]), lines)


# ---- memory --------------------------------------------------------------------------------------------------

SMALL = """<decoder name='a'><program_name>^p\\d*$</program_name></decoder>
<group name="g"><rule id="200001" level="3"><match>b</match><description>d</description></rule>
<rule id="200002" level="3"><program_name>1</program_name><match>c</match><description>d</description></rule></group>"""


def test_made_up_program_names_do_not_fill_memory(
    monkeypatch: pytest.MonkeyPatch, make_ruleset: Make, make_line: Line
) -> None:
    monkeypatch.setattr(plan_module, "MAX_PROGRAMS", 10)
    plan = compile_plan(make_ruleset(SMALL))
    for number in range(50):
        same(plan, make_line(f"Nov 24 03:21:42 h p{number}: b"))
    assert len(plan._programs) <= 10
    assert len(plan._classes) <= 5
    same(plan, make_line(f"Nov 24 03:21:42 h {'p' * 300}: b"))
    assert max(len(name or b"") for name in plan._programs) < 300


def test_beyond_the_classes_lines_are_walked_naively(
    monkeypatch: pytest.MonkeyPatch, make_ruleset: Make, make_line: Line
) -> None:
    monkeypatch.setattr(plan_module, "MAX_CLASSES", 2)
    plan = compile_plan(make_ruleset(SMALL))
    for name in ("p", "p1", "1", "other"):
        same(plan, make_line(f"Nov 24 03:21:42 h {name}: c"))
    assert not walked(plan, make_line("Nov 24 03:21:42 h 1: c"))
    assert len(plan._classes) == 2


def test_plans_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch, make_line: Line, make_ruleset: Make) -> None:
    monkeypatch.setattr(plan_module, "MAX_PLANS", 4)
    rows = "".join(
        f'<rule id="20000{n}" level="{n}"><match>{letter}</match><description>d</description></rule>'
        for n, letter in enumerate("abcdef")
    )
    plan = compile_plan(make_ruleset(f'<group name="g">{rows}</group>'))
    for number in range(64):
        same(plan, make_line("".join(letter for bit, letter in enumerate("abcdef") if number >> bit & 1)))
    assert all(len(kind.decoders) <= 4 and len(kind.rules) <= 4 for kind in plan._classes.values())


def test_letters_beyond_ascii_are_scanned_as_the_patterns_take_them(make_ruleset: Make, make_line: Line) -> None:
    rows = "".join(
        f'<rule id="10010{n}" level="{n + 1}"><{tag}>{pattern}</{tag}></rule>'
        for n, (tag, pattern) in enumerate(
            [
                *(("regex", pattern) for pattern in (r"K\.$", "s", r"a\.b", r"^\.x", "é", r"d\.\.d")),
                *(("pcre2", pattern) for pattern in ("a..b", "^..x", "[^a]c$")),
            ]
        )
    )
    plan = compile_plan(make_ruleset(f'<group name="g,">{rows}</group>', "ossec"))
    for text in ("k.", "\u212a.", "\u017f", "aéb", "漢x", "éx", "漢xyc", "É", "dé漢d", "dééd", "\udcffx", "a\udcc3b"):
        line = make_line(text)
        same(plan, line)
        assert walked(plan, line)
        assert plan.judge(plan.recognise(line)) is not None


def test_a_class_that_no_rule_can_be_about_is_left_alone(make_ruleset: Make, make_line: Line) -> None:
    text = (
        '<decoder name="app"><program_name>^app$</program_name></decoder>'
        '<group name="g"><rule id="200001" level="3"><decoded_as>app</decoded_as><description>d</description></rule></group>'
    )
    plan = compile_plan(make_ruleset(text))
    for _ in range(2):  # the first time the class is not known yet
        line = make_line("Nov 24 03:21:42 h other: x")
        same(plan, line)
        assert plan.notice(line) is None
    same(plan, make_line("Nov 24 03:21:42 h app: x"))


def test_name_hash_and_counts(make_ruleset: Make) -> None:
    ruleset = make_ruleset(SMALL)
    plan = compile_plan(ruleset)
    assert (plan.name, plan.hash, plan.table.hash) == ("test", ruleset.hash, ruleset.hash)
    assert plan.counts == (1, 2)


def test_equal_residuals_are_one_object(make_ruleset: Make, make_line: Line) -> None:
    plan = compile_plan(make_ruleset(SMALL))
    first = plan.judge(plan.recognise(make_line("b")))
    second = plan.judge(plan.recognise(make_line("bb x")))
    assert first is not None
    assert second is not None
    assert first.residual is second.residual
