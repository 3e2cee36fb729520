"""Can any text match a pattern? Finds those that an anchor in the wrong place makes impossible, such as `a^b`."""

import re
from collections.abc import Iterable
from typing import Any

from hids.core.pattern.pattern import Pattern

_parser: Any = vars(re).get("_parser")
"""CPython's own reader of patterns; None elsewhere, where nothing is found out then."""

_ESCAPE = re.compile(rb"(?s)\\(.)")

State = tuple[bool, bool]
"""(something was consumed, the end of the text was asserted): how a path through the pattern stands."""

_START: frozenset[State] = frozenset({(False, False)})


def can_match(pattern: Pattern) -> bool:
    """True unless it is certain that no text matches."""
    if pattern.scan is None or _parser is None:
        return True
    readable = _ESCAPE.sub(lambda found: b"\\Z" if found[1] == b"z" else found[0], pattern.scan)
    try:
        tree = _parser.parse(readable, re.DOTALL)
    except (re.error, OverflowError, RecursionError):
        return True
    return bool(_along(tree, _START))


def _along(items: Iterable[tuple[Any, Any]], states: frozenset[State]) -> frozenset[State]:
    """The states behind a sequence; none when no path leads through it."""
    for operation, argument in items:
        states = _behind(str(operation), argument, states)
    return states


def _behind(operation: str, argument: Any, states: frozenset[State]) -> frozenset[State]:  # noqa: PLR0911 - one answer a kind of node
    match operation:
        case "AT":
            return _at(str(argument), states)
        case "BRANCH":
            return frozenset[State]().union(*(_along(branch, states) for branch in argument[1]))
        case "SUBPATTERN":
            return _along(argument[-1], states)
        case "ATOMIC_GROUP":
            return _along(argument, states)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, _high, inner = argument
            once = _along(inner, states)
            several = once | _along(inner, once)
            return several if low else several | states
        case "ASSERT" | "ASSERT_NOT":
            return states
        case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY" | "RANGE" | "CATEGORY":
            return frozenset((True, False) for _consumed, ended in states if not ended)
        case _:
            return states | {(True, ended) for _consumed, ended in states}


def _at(where: str, states: frozenset[State]) -> frozenset[State]:
    if where in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
        return frozenset(state for state in states if not state[0])
    if where == "AT_END_STRING":
        return frozenset((consumed, True) for consumed, _ended in states)
    return states
