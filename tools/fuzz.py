#!/usr/bin/env python3
"""Throws hostile input at what reads rules and lines: no crash, no hang, bounded memory, plan and naive walk agree.

    tools/fuzz --seconds 60
    tools/fuzz --target lines --seed 7

Each target is tried for its share of the time with inputs that hypothesis makes, ever new ones. What fails is made small,
printed with the seed that found it, and ends the run with status 1.
"""

import argparse
import random
import resource
import signal
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from hids.adapters.rulesets import read_ruleset  # noqa: E402 - the path comes first
from hids.core.decode.event import Origin  # noqa: E402
from hids.core.pattern.pattern import Language, Pattern  # noqa: E402
from hids.core.rules.load import load  # noqa: E402
from hids.core.rules.plan import Plan, compile_plan  # noqa: E402
from hids.core.rules.render import sender_members, tail  # noqa: E402
from hids.core.rules.rule import SourceFile  # noqa: E402
from hids.core.rules.walk import decoded, judge  # noqa: E402
from hids.errors import ConfigError  # noqa: E402
from hids.messages.lines import LogLine  # noqa: E402
from hids.messages.terms import Agent, AgentId  # noqa: E402

MEMORY_BYTES = 4 * 1024**3
"""Address space of the run; an input that needs more fails."""
HANG_S = 5
"""Longest that one input may take; a line of 64 KiB takes a fraction of a second."""
EXAMPLES = 200
"""Inputs between two looks at the clock."""

LANGUAGES: tuple[Language, ...] = ("os_match", "os_regex", "osmatch", "osregex", "pcre2", "pcre2-caseless")
DIALECTS = ("ossec", "wazuh", "hids")

# ---- what is thrown ---------------------------------------------------------------------------------------------

HOSTILE = (
    b"\x00",
    b"\xff\xfe",
    b"\xc3\xa4",
    b"\xed\xa0\x80",
    b"\r\n\t\x1b[2J",
    b"(" * 500,
    b"[" * 3000,
    b'{"a":' * 3000,
    b'{"srcip":1e999,"id":-0,"a.b":{"":[]}}',
    b"a" * 70_000,
    b" " * 65_536,
    b"<!ENTITY a '&a;&a;&a;'>&a;",
    b"]]>--><!--",
    b"$(x)$(",
    b"%n%s",
    b"|^$!",
)
HEADERS = (
    b"",
    b"Nov 24 03:21:42 web1 sshd[712]: ",
    b"Nov 24 03:21:42 web1 : ",
    b"2026-11-24T03:21:42.123456+00:00 web1 su: ",
    b"M\xc3\xa4r 02 17:30:52 h1 app: ",
    b"[Time 2006.12.28 15:53:55 UTC] [Sender x] [Message ",
    b"01/28-09:13:16.240702  ",
    b"192.0.2.7 - - [24/Nov/2026:03:21:42 +0000] ",
    b"Nov 24 03:21:42 web1 auth|security:info prog[",
)
bytes_ = st.one_of(
    st.binary(max_size=200), st.sampled_from(HOSTILE), st.text(max_size=80).map(lambda t: t.encode("utf-8", "replace"))
)
logs = st.builds(lambda head, parts: head + b"".join(parts), st.sampled_from(HEADERS), st.lists(bytes_, max_size=6))

TAGS = (
    *(
        "group",
        "rule",
        "decoder",
        "var",
        "match",
        "regex",
        "if_sid",
        "prematch",
        "order",
        "parent",
        "list",
        "srcip",
        "time",
    ),
    *(
        "field",
        "description",
        "program_name",
        "if_matched_sid",
        "same_source_ip",
        "options",
        "mitre",
        "id",
        "fts",
        "pcre2",
    ),
)
ATTRIBUTES = ("id", "level", "name", "frequency", "timeframe", "type", "offset", "negate", "overwrite", "lookup", "x")
words = st.one_of(
    st.sampled_from(
        ("100100", "200100", "5", "p", "^x (\\S+)", "after_parent", "yes", "$X", "10.0.0.0/8", "srcip,id", "9" * 30)
    ),
    st.text(max_size=12).filter(lambda text: "\x00" not in text),
)


def _element(tag: str, attributes: dict[str, str], inner: Sequence[str]) -> str:
    named = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{named}>{''.join(inner)}</{tag}>"


elements = st.recursive(
    words,
    lambda inner: st.builds(
        _element,
        st.sampled_from(TAGS),
        st.dictionaries(st.sampled_from(ATTRIBUTES), words, max_size=3),
        st.lists(inner, max_size=4),
    ),
    max_leaves=25,
)
files = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(elements, st.sampled_from([h.decode("latin-1") for h in HOSTILE])), max_size=5).map(
        lambda parts: "".join(parts).encode("utf-8", "replace")
    ),
)
pattern_texts = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"\\d+",
                b"\\S*",
                b"(\\.+)",
                b"(a+)+",
                b"^",
                b"$",
                b"|",
                b"!",
                b"(",
                b")",
                b"[a-",
                b"\\w",
                b"x",
                b"{2,}",
                b"(?:",
                b"(?R)",
            ]
        ),
        st.binary(max_size=4),
    ),
    max_size=8,
).map(b"".join)

# ---- targets ----------------------------------------------------------------------------------------------------


def loader(dialect: str, text: bytes) -> None:
    """Any bytes are a ruleset or are refused with a place; what loads judges a line."""
    try:
        ruleset = load("fuzz", dialect, [SourceFile("fuzz.xml", text)])
    except ConfigError as error:
        assert "fuzz.xml" in str(error), "a refusal that names no place"
        return
    line = LogLine("/x", b"Nov 24 03:21:42 web1 app: x 10.0.0.1 joe e", 0, 0)
    agree(compile_plan(ruleset), line)


def pattern(language: Language, text: bytes, subject: bytes) -> None:
    """A pattern is refused or answers, whatever the text."""
    try:
        made = Pattern(language, text)
    except ConfigError:
        return
    found = made.search(subject)
    assert found is None or 0 <= found.end <= len(subject), (
        f"goes on at {found.end if found else None} of {len(subject)}"
    )
    assert found is None or bool(made.matches(subject)), "search finds what matches denies"


def agree(plan: Plan, line: LogLine) -> None:
    """Plan and naive walk give one answer, and it can be told."""
    naive, event = decoded(plan.ruleset, line, Origin(b"h")), plan.recognise(line, Origin(b"h"))
    found = plan.judge(event)
    assert found == judge(plan.ruleset, naive)
    assert event.fields == naive.fields
    if found is not None:
        tail(event, line, sender_members(Agent(AgentId("001"), "a", "192.0.2.1"), "m"), full_log=True)


def targets(folders: Sequence[tuple[Path, str]]) -> dict[str, tuple[Callable[..., None], dict[str, Any]]]:
    """Name -> function and the strategies of its arguments."""
    plans = [compile_plan(load(folder.name, dialect, read_ruleset(folder))) for folder, dialect in folders]
    return {
        "loader": (loader, {"dialect": st.sampled_from(DIALECTS), "text": files}),
        "patterns": (
            pattern,
            {"language": st.sampled_from(LANGUAGES), "text": pattern_texts, "subject": bytes_},
        ),
        "lines": (
            lambda plan, log, place: agree(plan, LogLine(place, log, 0, 0)),
            {"plan": st.sampled_from(plans), "log": logs, "place": st.text(max_size=20)},
        ),
    }


# ---- running ----------------------------------------------------------------------------------------------------


def run(function: Callable[..., None], arguments: dict[str, Any], number: int) -> None:
    """Try one round of inputs; raises what an input raises, made small unless it hangs, which would take hours."""

    def body(**values: Any) -> None:
        signal.alarm(HANG_S)
        try:
            function(**values)
        finally:
            signal.alarm(0)

    def tried(phases: tuple[Phase, ...]) -> Callable[[], None]:
        chosen = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=phases,
        )
        return chosen(seed(number)(given(**arguments)(body)))

    try:
        tried((Phase.generate,))()
    except Hung:
        raise
    except Exception:
        tried((Phase.generate, Phase.shrink))()
        raise


class Hung(Exception):  # noqa: N818 - a state
    """An input takes too long."""


def _hung(_number: int, _frame: types.FrameType | None) -> None:
    raise Hung(f"an input takes more than {HANG_S} s")


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--target", action="append", choices=("loader", "patterns", "lines"), help="default: all")
    parser.add_argument("--seed", type=int, help="first seed; default: a random one")
    parser.add_argument("--ossec", type=Path, metavar="DIR", help="also try lines on this folder of OSSEC's rules")
    parser.add_argument("--wazuh", type=Path, metavar="DIR", help="... and of Wazuh's")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _hung)
    folders = [(ROOT / "rules", "hids")]
    folders += [(folder, name) for name in ("ossec", "wazuh") if (folder := getattr(options, name)) is not None]
    chosen = {name: target for name, target in targets(folders).items() if name in (options.target or (name,))}
    number = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    for name, (function, arguments) in chosen.items():
        ends, rounds = time.monotonic() + options.seconds / len(chosen), 0
        while rounds == 0 or time.monotonic() < ends:
            try:
                run(function, arguments, number)
            except Exception:
                print(
                    f"{name}: seed {number} fails; again with: tools/fuzz --target {name} --seed {number}", flush=True
                )
                raise
            number, rounds = number + 1, rounds + 1
        print(f"{name}: {rounds * EXAMPLES} inputs, nothing found", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
