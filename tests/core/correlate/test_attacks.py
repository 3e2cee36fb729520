"""Attacks in parallel and under load: natively each attacker is one alert; compatible correlation misses what OSSEC misses.

The rule is like OSSEC's for ssh: more than six failures of one address within two minutes, then silence for one. What
OSSEC's own daemon gave in these situations was measured; "compat" gives the same.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from hids.core.correlate.cells import Cells
from hids.core.correlate.correlator import Correlator
from hids.core.correlate.windows import Windows
from hids.messages.evaluation import FINAL, WINDOW, EventOut, Residual
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec
from hids.messages.terms import Correlation

FAILED, BRUTE_FORCE, LOGIN = range(3)
NEEDED = 7
FAILURE: Residual = ((WINDOW, BRUTE_FORCE, 1, 2), (FINAL, BRUTE_FORCE, FAILED, 0), (FINAL, FAILED, -1, 0))
UNRELATED: Residual = ((FINAL, LOGIN, -1, 0),)

RULES = (
    RuleRow(id=1, level=5, identity="failed", head=b"", end=b"", feeds=(BRUTE_FORCE,), sid_list=(BRUTE_FORCE,)),
    RuleRow(
        id=2,
        level=10,
        identity="brute force",
        head=b"",
        end=b"",
        window=WindowSpec(NEEDED, 120_000, (0,)),
        ignore_ms=60_000,
    ),
    RuleRow(id=3, level=3, identity="login", head=b"", end=b""),
)

Events = Iterator[tuple[int, bytes | None]]
"""(milliseconds, address); without one it is an unrelated login."""


def one(unrelated: int = 0, others: int = 0) -> Events:
    """Ten failures of one address with something between the fifth and the sixth."""
    for turn in range(10):
        yield 1000 * turn, b"attacker"
        if turn == 4:
            yield from ((1000 * turn, None) for _ in range(unrelated))
            yield from ((1000 * turn, b"other %d" % number) for number in range(others))


def together(attackers: int) -> Events:
    """All at once within a second: forty rounds, the order of each another."""
    order = random.Random(7)  # noqa: S311 - a test that can be repeated
    names = [b"%d" % attacker for attacker in range(attackers)]
    failures = [address for _ in range(40) for address in order.sample(names, attackers)]
    for number, address in enumerate(failures):
        yield number * 1000 // len(failures), address


def in_turns() -> Events:
    """Ten attackers one after another within five seconds."""
    for attacker in range(10):
        yield from ((500 * attacker + turn * 10, b"%d" % attacker) for turn in range(40))


class Situation(NamedTuple):
    events: Events
    attackers: int
    compat: int
    """Alerts of OSSEC's daemon."""


def situation(name: str) -> Situation:
    match name.split():
        case "logins", count:
            return Situation(one(unrelated=int(count)), 1, int(int(count) < 8192))
        case "others", count:
            return Situation(one(others=int(count)), 1, int(int(count) < 128))
        case "together", count:
            return Situation(together(int(count)), int(count), int(int(count) < 60))
        case _:
            return Situation(in_turns(), 10, 1)


SITUATIONS = (
    *("logins 0", "logins 7000", "logins 9000", "logins 20000"),
    *("others 100", "others 130", "others 200"),
    *("together 10", "together 20", "together 60", "turns"),
)


def alerts(events: Events, correlation: Correlation) -> Counter[bytes | None]:
    """Told brute force alerts by address."""
    table = RuleTable("h", "test", ("srcip",), RULES, "ossec", correlation)
    correlator = Correlator(Windows(lambda _: None, 1 << 30), Cells())
    told: Counter[bytes | None] = Counter()
    for after_ms, address in events:
        event = EventOut(0, 10**12 + after_ms, 0, 0, (address,), b"", b"")
        residual = UNRELATED if address is None else FAILURE
        decision = correlator.decide(table, residual, event, "001", event.at_ms)
        told[address] += decision.rule == BRUTE_FORCE and not decision.silent
    return told


@pytest.mark.parametrize("name", SITUATIONS)
def test_natively_each_attacker_is_told_exactly_once(name: str):
    told = alerts(situation(name).events, "native")
    assert sorted(+told) == sorted(key for key, n in told.items() if n == 1)
    assert len(+told) == situation(name).attackers


@pytest.mark.parametrize("name", SITUATIONS)
def test_compat_misses_what_ossec_misses(name: str):
    assert alerts(situation(name).events, "compat").total() == situation(name).compat
