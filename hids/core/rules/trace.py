"""Tells the way of one line through decoders and rules: what was tried, and the first condition that failed.

For people who write rules. It looks at everything itself, as the naive walk does, and decides nothing: questions about
the past are told as questions.
"""

from collections.abc import Iterator
from typing import Literal, cast

import msgspec

from hids.core.decode.event import DecoderTest, Event, Prematch, select
from hids.core.pattern.pattern import Pattern
from hids.core.rules.conditions import Condition
from hids.core.rules.rule import Rule, Ruleset
from hids.messages.evaluation import WINDOW

Outcome = Literal["no", "yes", "asks"]

MAX_SHOWN = 200
"""Bytes of a pattern or value."""

_ASKS = {1: "enough such events came before", 2: "it is seen for the first time", 3: "it differs from the last one"}
"""What the lane is asked, by operation (`hids.messages.evaluation.ResidualNode`)."""


class Step(msgspec.Struct, frozen=True):
    """Something that was tried."""

    kind: Literal["decoder", "rule"]
    name: str
    depth: int
    """0: at the top."""
    outcome: Outcome
    """asks: all holds that can be told from the line alone; the past decides the rest."""
    why: str = ""
    """The first condition that failed, or what the past is asked."""


def trace(ruleset: Ruleset, event: Event) -> list[Step]:
    """Go the way of `event`, whose decoders are chosen already."""
    return [*_decoders(ruleset, event), *_rules(ruleset, event)]


def _decoders(ruleset: Ruleset, event: Event) -> Iterator[Step]:
    asked: list[tuple[DecoderTest, bool]] = []

    def ask(test: DecoderTest) -> bool:
        answer = test.holds(event)
        asked.append((test, answer))
        return answer

    selection = select(ruleset.decoders.roots(event.program), ask)
    chosen = None if selection is None else selection.root
    for test, answer in asked:
        decoder = test.decoder
        below = decoder is not chosen and decoder.parent is not None
        if answer:
            if decoder is chosen and (isinstance(test, Prematch) or decoder.prematch is None):
                yield Step("decoder", decoder.written, 0, "yes")
            elif below:
                yield Step("decoder", decoder.written, 1, "yes")
            continue
        what = "prematch" if isinstance(test, Prematch) else "program_name"
        pattern = decoder.prematch if isinstance(test, Prematch) else decoder.program
        yield Step("decoder", decoder.written, int(below), "no", f"{what} {_shown(pattern)}")


def _rules(ruleset: Ruleset, event: Event) -> Iterator[Step]:
    for rule, depth, failed in rules_tried(ruleset, event):
        if failed is not None:
            yield Step("rule", str(rule.id), depth, "no", describe(failed))
            continue
        asks = " and ".join(_asked(rule, op) for op in rule.asks)
        yield Step("rule", str(rule.id), depth, "asks" if asks else "yes", asks)


def _asked(rule: Rule, operation: int) -> str:
    if operation == WINDOW and rule.window is not None and rule.window.source.sequence is not None:
        return "the other event of the sequence came in time"
    return _ASKS.get(operation, f"operation {operation}")


def rules_tried(ruleset: Ruleset, event: Event) -> Iterator[tuple[Rule, int, Condition | None]]:
    """Each rule that the walk looks at, in its order, with its depth and the first condition that failed."""
    return _siblings(ruleset, ruleset.top, event, 0)


def _siblings(
    ruleset: Ruleset, rules: tuple[Rule, ...], event: Event, depth: int
) -> Iterator[tuple[Rule, int, Condition | None]]:
    for rule in rules:
        failed = next((condition for condition in (*rule.conditions, *rule.late) if not condition.holds(event)), None)
        yield rule, depth, failed
        if failed is not None:
            continue
        yield from _siblings(ruleset, ruleset.children[rule.index], event, depth + 1)
        if not rule.asks and not rule.noalert:
            return


def describe(condition: object) -> str:
    """A condition in words: its kind, and what it compares with."""
    if not isinstance(condition, msgspec.Struct):
        return str(condition)
    kind = _words(type(condition).__name__)
    parts = [
        "not" if name == "negated" else _shown(value)
        for name, value in msgspec.structs.asdict(condition).items()
        if value not in (None, False, ())
    ]
    return " ".join((kind, *parts))


def _words(name: str) -> str:
    """`LogMatches` -> `log matches`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def _shown(value: object) -> str:
    if isinstance(value, Pattern):
        value = value.key[1]
    if isinstance(value, bytes):
        return value[:MAX_SHOWN].decode("utf-8", "backslashreplace")
    if isinstance(value, tuple):
        return ", ".join(map(_shown, cast("tuple[object, ...]", value)))
    return str(value)
