"""Slots: what the lane is told of an event, by name. Only those that some rule of the set needs."""

from collections.abc import Callable, Iterable, Sequence

from hids.core.decode.event import Event
from hids.core.pattern.pattern import Pattern
from hids.core.rules.composite import Window
from hids.core.rules.conditions import field
from hids.core.rules.rule import Rule
from hids.messages.evaluation import DIFF, FTS

IGNORE_SLOTS = {
    "name": "decoder",
    "id": "id",
    "user": "dstuser",
    "srcip": "srcip",
    "dstip": "dstip",
    "data": "extra_data",
    "system_name": "system_name",
    "location": "location",
}
"""Words of `<ignore>` and `<check_if_ignored>`, in the order in which their values stand in a line (OSSEC)."""


class Slots:
    """Names of the slots of one ruleset, and how to fill them."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        patterns = (rule.window.source.regex for rule in rules if rule.window is not None)
        self._patterns: tuple[Pattern, ...] = tuple(dict.fromkeys(p for p in patterns if p is not None))
        self.names: tuple[str, ...] = tuple(sorted({name for rule in rules for name in self._of(rule)}))
        self._place = {name: place for place, name in enumerate(self.names)}
        self._read = tuple(map(self._reader, self.names))
        self._none: tuple[bytes | None, ...] = (None,) * len(self.names)

    def places(self, names: Iterable[str]) -> tuple[int, ...]:
        """Numbers of slots."""
        return tuple(self._place[name] for name in names)

    def regex(self, window: Window) -> int:
        """Slot of a window's past-log pattern; -1 when it has none."""
        name = self._regex_name(window)
        return -1 if name is None else self._place[name]

    def needed(self, rules: Iterable[Rule]) -> tuple[int, ...]:
        """Numbers of the slots that these rules look at."""
        return self.places(sorted({name for rule in rules for name in self._of(rule)}))

    def of_log(self, needed: Iterable[int]) -> bool:
        """Whether these slots follow from the log, whoever sent it and whenever; of `fts` see `Decoder.fts`."""
        return {"hostname", "location", "agent"}.isdisjoint(self.names[place] for place in needed)

    def values(self, event: Event, needed: Sequence[int]) -> tuple[bytes | None, ...]:
        """The event's, in the order of `names`; None for those that are not needed."""
        if not needed:
            return self._none
        values: list[bytes | None] = [None] * len(self.names)
        for place in needed:
            values[place] = self._read[place](event)
        return tuple(values)

    def _of(self, rule: Rule) -> Iterable[str]:
        if FTS in rule.asks:
            yield from ("fts", "fts_ids")
        if DIFF in rule.asks:
            yield from ("log", "hostname")
        for word in (*rule.ignore_fields, *rule.check_ignored):
            yield IGNORE_SLOTS[word]
        if (window := rule.window) is not None:
            like = window.like
            yield from (*like.same, *like.different, *like.different_present, *like.distinct)
            if window.like.dynamic:
                yield "dynamic"
            if (regex := self._regex_name(window)) is not None:
                yield regex

    def _regex_name(self, window: Window) -> str | None:
        pattern = window.source.regex
        return None if pattern is None else f"regex:{self._patterns.index(pattern)}"

    def _reader(self, name: str) -> Callable[[Event], bytes | None]:
        kind, _, what = name.partition(":")
        if kind == "regex":
            matches = self._patterns[int(what)].matches
            return lambda event: b"1" if matches(event.log) else None
        if what:
            return lambda event: event.dynamic.get(what)
        return _READERS.get(name) or (lambda event: event.fields.get(name))


_READERS: dict[str, Callable[[Event], bytes | None]] = {
    "hostname": lambda event: event.hostname,
    "location": lambda event: _location(event),  # noqa: PLW0108 - defined further down
    "decoder": lambda event: (event.decoder_name or "").encode(),
    "type": lambda event: event.decoder_type.encode(),
    "log": lambda event: event.log,
    "dynamic": lambda event: b"1" if event.dynamic else None,
    "fts": lambda event: event.fts_key,
    "fts_ids": lambda event: b"1" if event.fts_is_ids else None,
    "agent": lambda event: event.origin.host,
    "user": lambda event: field(event, ("dstuser", "srcuser")),
}
"""Slots that are no field."""


def _location(event: Event) -> bytes:
    """The file, with the sender's name: Wazuh's locations of agents hold both."""
    return (event.origin.host or b"") + b"->" + event.location.encode("utf-8", "surrogateescape")
