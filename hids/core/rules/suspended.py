"""Which rules and decoders a suspended pattern belongs to, in words for an alert."""

from collections import defaultdict
from collections.abc import Iterator

from hids.core.decode.decoder import Decoder
from hids.core.pattern.guard import Guard
from hids.core.pattern.pattern import Pattern
from hids.core.rules.rule import Ruleset

NAMED = 10
"""Rules and decoders that are named of one pattern; the others are counted."""
PATTERN_BYTES = 200
"""What is shown of a pattern."""


class Suspensions:
    """Tells of each pattern of some rulesets once that it was suspended."""

    def __init__(self, rulesets: tuple[Ruleset, ...]) -> None:
        self._rulesets = rulesets
        self._seen = Guard.suspensions_of_all
        self._told: set[tuple[str, Pattern]] = set()

    def news(self) -> tuple[str, ...]:
        """What was suspended for the first time since the last call, each in a line of words."""
        if Guard.suspensions_of_all == self._seen:
            return ()
        self._seen = Guard.suspensions_of_all
        return tuple(text for ruleset in self._rulesets for text in self._of(ruleset))

    def _of(self, ruleset: Ruleset) -> Iterator[str]:
        for pattern, text in suspended(ruleset).items():
            if (ruleset.name, pattern) not in self._told:
                self._told.add((ruleset.name, pattern))
                yield f"ruleset {ruleset.name}, {text}"


def suspended(ruleset: Ruleset) -> dict[Pattern, str]:
    """Each pattern that was suspended in this process, with its rules and decoders in words."""
    owners: defaultdict[Pattern, list[str]] = defaultdict(list)
    for owner, pattern in _patterns(ruleset):
        if pattern.guard.suspensions:
            owners[pattern].append(owner)
    return {pattern: _named(pattern, names) for pattern, names in owners.items()}


def _named(pattern: Pattern, names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    shown = pattern.key[1][:PATTERN_BYTES].decode("utf-8", "backslashreplace")
    return f"{', '.join(names[:NAMED])}{more}: pattern {shown}"


def _patterns(ruleset: Ruleset) -> Iterator[tuple[str, Pattern]]:
    """(rule or decoder, pattern of it), each once."""
    for decoder in dict.fromkeys(_all((*ruleset.decoders.with_program, *ruleset.decoders.without_program))):
        for pattern in dict.fromkeys((decoder.program, decoder.prematch, decoder.regex)):
            if pattern is not None:
                yield f"decoder {decoder.written}", pattern
    for rule in ruleset.rules:
        found = (getattr(condition, "pattern", None) for condition in (*rule.conditions, *rule.late))
        for pattern in dict.fromkeys(found):
            if isinstance(pattern, Pattern):
                yield f"rule {rule.id}", pattern


def _all(decoders: tuple[Decoder, ...]) -> Iterator[Decoder]:
    for decoder in decoders:
        yield decoder
        yield from _all(decoder.children)
