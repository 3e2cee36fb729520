"""The certificate of a ruleset: for each rule and decoder, whether its answers are those of the engine it was written for.

`exact`: for every event. `equivalent`: but for what a reason from the closed list below says, each a choice of ours that
the rule language's table of differences names; an input shows where the answers part. `refused`: it is left out, and
why. Pre-decoding differs for whole rulesets, not for single rules: see `GENERAL`.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from hids.core.decode.decoder import Decoder
from hids.core.dialect import Dialect
from hids.core.pattern.pattern import MATCH_LIMIT, Pattern
from hids.core.rules.conditions import InList
from hids.core.rules.rule import Rule, Ruleset

Verdict = Literal["exact", "equivalent", "refused"]

Reason = Literal["windows", "event time", "ignore", "differences", "lists", "all threads", "beyond ASCII", "steps"]
"""Why answers may part:

windows       native correlation: each key counts for itself, and firing uses up the events of that key alone
event time    past events age by event time, not by the clock on the wall (Wazuh)
ignore        native correlation: `ignore` silences the rule for that key only
differences   native correlation: different_srcip and not_same_* ask for other values, as the manual says; upstream's
              program does not (OSSEC)
lists         all <list>s of a rule are asked; upstream asks only the last two
all threads   if_matched_regex looks through all past events; upstream through those of one thread (OSSEC)
beyond ASCII  literal bytes beyond ASCII are matched exactly; upstream never matches them (Wazuh on x86)
steps         a pattern that needs backtracking gives up after fewer steps
"""

GENERAL: dict[Dialect, tuple[str, ...]] = {
    "ossec": (
        "locations are framed by the agent's protocol, not by the first colon",
        "an event whose decoder has no <order> simply lacks every <field>; upstream reads beyond an array",
    ),
    "wazuh": (
        "locations are framed by the agent's protocol, not by the first unescaped colon",
        "an ISO date with a fraction is cut where it ends; upstream cuts 32 bytes",
        "a capture that would end before it begins is empty; upstream reads beyond it",
    ),
    "hids": (),
}
"""Deviations of pre-decoding and of undefined behaviour, by dialect: they hold for all rules alike."""

UPSTREAM_LISTS = 2
_UPSTREAM_DIFFERENT = frozenset(("url", "srcgeoip"))
"""What OSSEC's program really compares of `different_*`."""
_SHOWN = {"dstuser": "user"}
"""Slots that people know by another name."""


class Difference(msgspec.Struct, frozen=True):
    """One way in which answers may part."""

    reason: Reason
    input: str
    """Events for which they do."""


class Entry(msgspec.Struct, frozen=True):
    """What the certificate says of one rule or decoder."""

    kind: Literal["rule", "decoder"]
    id: str
    """Number of a rule, name of a decoder."""
    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    why: str = ""
    """Of what is refused: file, line and reason."""


class Certificate(msgspec.Struct, frozen=True):
    """Of one ruleset."""

    ruleset: str
    dialect: Dialect
    hash: str
    correlation: str
    general: tuple[str, ...]
    entries: tuple[Entry, ...]

    def count(self, verdict: Verdict) -> int:
        """How many rules and decoders have this verdict."""
        return sum(entry.verdict == verdict for entry in self.entries)


def certify(ruleset: Ruleset) -> Certificate:
    """Judge every rule and decoder of a ruleset, and list what was refused."""
    return Certificate(
        ruleset=ruleset.name,
        dialect=ruleset.dialect,
        hash=ruleset.hash,
        correlation=ruleset.correlation,
        general=GENERAL[ruleset.dialect],
        entries=(*_decoders(ruleset), *map(_Rules(ruleset).entry, ruleset.rules), *_refused(ruleset)),
    )


def _refused(ruleset: Ruleset) -> Iterator[Entry]:
    for refused in ruleset.refused:
        kind: Literal["rule", "decoder"] = "decoder" if refused.kind == "decoder" else "rule"
        yield Entry(kind, refused.id, "refused", why=f"{refused.file}:{refused.line}: {refused.reason}")


def _entry(kind: Literal["rule", "decoder"], name: str, differences: tuple[Difference, ...]) -> Entry:
    return Entry(kind, name, "equivalent" if differences else "exact", differences)


# ---- decoders ---------------------------------------------------------------------------------------------------


def _decoders(ruleset: Ruleset) -> Iterator[Entry]:
    """Each decoder once, though a child stands below every decoder of its parent's name."""
    told: set[int] = set()
    tree = ruleset.decoders
    for root in (*tree.with_program, *tree.without_program):
        for decoder in (root, *root.children):
            key = hash((decoder.written, decoder.parent, decoder.prematch, decoder.regex, decoder.order))
            if key not in told:
                told.add(key)
                yield _entry("decoder", decoder.written, tuple(_of_decoder(ruleset.dialect, decoder)))


def _of_decoder(dialect: Dialect, decoder: Decoder) -> Iterator[Difference]:
    for pattern in (decoder.program, decoder.prematch, decoder.regex):
        if pattern is not None:
            yield from _of_pattern(dialect, pattern)


def beyond_ascii(dialect: Dialect, pattern: Pattern) -> bool:
    """It has bytes that Wazuh's engine for this kind of pattern never matches, and ours does."""
    return dialect == "wazuh" and not pattern.key[0].startswith("pcre2") and not pattern.key[1].isascii()


def _of_pattern(dialect: Dialect, pattern: Pattern) -> Iterator[Difference]:
    text = pattern.key[1]
    if beyond_ascii(dialect, pattern):
        yield Difference("beyond ASCII", "a log that holds " + text.decode("utf-8", "backslashreplace"))
    if pattern.engine == "pcre2":
        shown = text.decode("utf-8", "backslashreplace")
        yield Difference("steps", f"a log on which {shown} needs more than {MATCH_LIMIT:,} steps")


# ---- rules ------------------------------------------------------------------------------------------------------


class _Rules:
    """What the rules of one ruleset have in common."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._dialect: Dialect = ruleset.dialect
        self._native = ruleset.correlation == "native"

    def entry(self, rule: Rule) -> Entry:
        """The verdict on one rule."""
        return _entry("rule", str(rule.id), tuple(dict.fromkeys(self._differences(rule))))

    def _differences(self, rule: Rule) -> Iterator[Difference]:
        if self._dialect == "hids":
            return
        lists = [condition for condition in rule.conditions if isinstance(condition, InList)]
        if len(lists) > UPSTREAM_LISTS:
            yield Difference("lists", "an event that only one of the first lists refuses")
        for condition in rule.conditions:
            pattern: object = getattr(condition, "pattern", None)
            if isinstance(pattern, Pattern):
                yield from _of_pattern(self._dialect, pattern)
        yield from self._of_window(rule)
        if self._native and rule.ignore_s:
            yield Difference("ignore", f"two events with different keys within {rule.ignore_s} s, both of this rule")

    def _of_window(self, rule: Rule) -> Iterator[Difference]:
        window = rule.window
        if window is None or rule.level == 0:
            return
        counted = f"{window.needed + 1} events of what it counts"
        if self._native:
            keys = " and ".join(_SHOWN.get(name, name.removeprefix("field:")) for name in window.like.same)
            yield Difference(
                "windows",
                f"{counted} with one {keys}, with as many of another in between, within {window.timeframe_s} s"
                if keys
                else f"twice {counted}, with an event in between that fires a rule of a higher level on them",
            )
        if self._native and self._dialect == "ossec" and set(window.like.different_present) - _UPSTREAM_DIFFERENT:
            yield Difference("differences", f"{counted} with equal values of what not_same_* or different_srcip names")
        if self._dialect == "wazuh":
            text = f"{counted}, read within a second, whose own times lie over {window.timeframe_s} s apart"
            yield Difference("event time", text)
        if self._dialect == "ossec" and window.source.regex is not None:
            yield Difference("all threads", f"{counted} from two log files")
