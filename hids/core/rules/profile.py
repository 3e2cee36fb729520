"""What each rule and decoder costs, from a sample of the lines: how often it was looked at, held, and for how long.

Every `SAMPLE_EVERY`th line is walked a second time, naively, one decoder and one rule after the other, with a clock
beside. So the figures are those of a walk without any plan: what a rule would cost if nothing were remembered of it. They
rank rules, they do not add up to the worker's time. The fields of an event are charged to the first that asks for one.
"""

from collections.abc import Callable

import msgspec

from hids.core.decode.event import DecoderTest, Event, Origin, select, undecoded
from hids.core.rules.rule import Ruleset
from hids.core.rules.suspended import suspended
from hids.core.rules.trace import rules_tried
from hids.messages.lines import LogLine

SAMPLE_EVERY = 256
"""A naive walk costs some 50 times the planned one: a fifth of a microsecond for each line, so spread."""

MAX_BYTES = 4_096
"""Longer lines are left out: a walk without plan over one could take a second."""

Clock = Callable[[], int]
"""Nanoseconds that only grow."""


class Figure(msgspec.Struct, array_like=True):
    """What was seen of one rule or decoder."""

    evaluated: int = 0
    matched: int = 0
    ns: int = 0

    def add(self, ns: int, *, matched: bool) -> None:
        """Count one more look at it."""
        self.evaluated += 1
        self.matched += matched
        self.ns += ns


class RulesetFigures(msgspec.Struct):
    """The figures of one ruleset since the worker started."""

    hash: str
    name: str
    sampled: int = 0
    """Lines."""
    rules: dict[int, Figure] = {}
    """By id."""
    decoders: dict[str, Figure] = {}
    """By name as written; several of one name are one."""
    suspended: dict[str, int] = {}
    """Patterns that ran out of steps, with their rules and decoders in words -> times that they were suspended."""


class Profile:
    """The sample of one worker."""

    def __init__(self, rulesets: tuple[Ruleset, ...], clock: Clock) -> None:
        self._rulesets = rulesets
        self._clock = clock
        self._left = SAMPLE_EVERY
        self.figures = tuple(RulesetFigures(ruleset.hash, ruleset.name) for ruleset in rulesets)

    def told(self) -> tuple[RulesetFigures, ...]:
        """The figures, and what was suspended until now."""
        for ruleset, figures in zip(self._rulesets, self.figures, strict=True):
            figures.suspended = {text: pattern.guard.suspensions for pattern, text in suspended(ruleset).items()}
        return self.figures

    def due(self, lines: int) -> list[int]:
        """Offsets of the lines to be looked at among the next `lines`."""
        offsets = list(range(self._left - 1, lines, SAMPLE_EVERY))
        self._left = (self._left - lines - 1) % SAMPLE_EVERY + 1
        return offsets

    def look(self, line: LogLine, host: bytes) -> None:
        """Walk one line, for every ruleset."""
        if len(line.text) > MAX_BYTES:
            return
        for ruleset, figures in zip(self._rulesets, self.figures, strict=True):
            figures.sampled += 1
            event = undecoded(line, ruleset.dialect, Origin(host), log_fw=ruleset.log_fw)
            self._decode(ruleset, event, figures.decoders)
            before = self._clock()
            for rule, _depth, failed in rules_tried(ruleset, event):
                now = self._clock()
                figures.rules.setdefault(rule.id, Figure()).add(now - before, matched=failed is None)
                before = self._clock()

    def _decode(self, ruleset: Ruleset, event: Event, figures: dict[str, Figure]) -> None:
        def ask(test: DecoderTest) -> bool:
            before = self._clock()
            answer = test.holds(event)
            figures.setdefault(test.decoder.written, Figure()).add(self._clock() - before, matched=answer)
            return answer

        event.select(select(ruleset.decoders.roots(event.program), ask))
