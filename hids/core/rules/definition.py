"""One `<rule>` element -> one rule. What other rules it hangs under is not decided here."""

import re
from collections.abc import Callable, Mapping

from hids.core.decode.load import TYPES, unescaped
from hids.core.dialect import Dialect
from hids.core.markup import Element
from hids.core.pattern.pattern import Pattern, PatternError
from hids.core.rules.compiled import COMPILED
from hids.core.rules.composite import DEFAULT_TIMEFRAME_S, Options, Sequence, Source, Window, needed
from hids.core.rules.conditions import (
    AddressIn,
    Category,
    Choice,
    Compiled,
    Condition,
    DayIn,
    DecodedAs,
    DynamicMatches,
    FieldEquals,
    FieldMatches,
    InList,
    Network,
    SizeAtLeast,
    TimeIn,
    network,
)
from hids.core.rules.describe import template
from hids.core.rules.elements import MAKERS, ORDER, Form, form_of, language, pcre2_form, plain_name
from hids.core.rules.lists import LOOKUPS, ListTable, Lookup
from hids.core.rules.rule import Rule
from hids.core.rules.schedule import days, hours
from hids.core.rules.slots import IGNORE_SLOTS
from hids.errors import Problem
from hids.messages.evaluation import DIFF, FTS, WINDOW

IDS = (200_000, 299_999)
"""Ids of dialect `hids`: outside of those that OSSEC, Wazuh and their users' own rules have."""
MAX_LEVEL = 16
MAX_FREQUENCY = 9_999
MAX_TIME_S = 999_999
MAIL_LEVEL = 7
"""From this level on an alert is for mail, unless an option says otherwise; OSSEC's `email_alert_level`."""
TEMPLATES = range(1, 10)
"""Ids of the top-level rules of OSSEC and Wazuh, one a category; they come with the rule files."""
SILENT_RANK = 9_900
"""Rank of level 0: before all others, so that what is known to be harmless is silenced first."""
INACCURATE_LEVEL = 99
"""Level that `accuracy="0"` makes of level 0."""
LISTS_EVALUATED = 2
"""Of several `<list>` in one rule OSSEC and Wazuh keep the last two."""

_DIGITS = {"id": 6, "level": 4, "frequency": 4, "timeframe": 5, "ignore": 6, "maxsize": 4, "accuracy": 4}
"""OSSEC cuts a number to so many digits; Wazuh's numbers may have no more."""

_SEQUENCES = ("followed_by", "unless")
"""Elements of sequences; only ours."""
_NOT_OURS = ("category",)
"""Elements for which dialect `hids` has no use: its decoders have no types."""

_TEXTS = (
    "category",
    "if_sid",
    "if_group",
    "if_level",
    "if_matched_sid",
    "if_matched_group",
    "if_matched_regex",
    *_SEQUENCES,
    "decoded_as",
    "description",
    "compiled_rule",
    "time",
    "weekday",
    "ignore",
    "check_if_ignored",
    "cve",
)
"""Elements that are a text of their own kind."""
_FLAGS = {"if_fts": FTS, "check_diff": DIFF}
_REPEATABLE = ("group", "options", "srcip", "dstip", "field", "info", "list", "mitre")
"""What may stand twice in a rule of ours."""
_OPTIONS = ("alert_by_email", "no_email_alert", "log_alert", "no_log", "no_ar")
_WAZUH_OPTIONS = ("no_full_log", "no_counter")
_STATIC = frozenset(
    (
        *("srcip", "dstip", "srcport", "dstport", "protocol", "action", "srcuser", "dstuser", "user", "id", "url"),
        *("data", "extra_data", "status", "system_name", "srcgeoip", "dstgeoip"),
    )
)
"""Names that Wazuh's `<field>` refuses: each has an element of its own."""
_OSSEC_LISTED = frozenset(
    (
        *("srcip", "srcport", "dstip", "dstport", "user", "url", "id"),
        *("hostname", "program_name", "status", "action"),
    )
)
"""What OSSEC's `<list>` can look up."""

_FIREWALL_LOG: dict[Dialect, tuple[str, ...]] = {
    "ossec": ("action", "srcip", "dstip", "protocol"),
    "wazuh": ("action", "srcip", "dstip", "protocol", "srcport", "dstport"),
    "hids": (),
}
"""What the firewall log tells; an event without all of it is dropped before the rules."""

_KEPT: dict[Dialect, tuple[str, ...]] = {
    "ossec": ("pcre2", "field", "list", "srcgeoip", "dstgeoip", "ignore", "check_if_ignored"),
    "wazuh": ("group",),
    "hids": ("group",),
}
"""What `overwrite="yes"` leaves as it was, beside the place in the tree and what a composite counts."""

_ATTACK = re.compile(r"TA[0-9]{4}|T[0-9]{4}(?:\.[0-9]{3})?")
"""Ids of MITRE ATT&CK: tactics and techniques."""


class Definition:
    """A rule as its element says it. What is wrong goes to `problems`; a wrong part is left out."""

    def __init__(
        self,
        element: Element,
        group: str,
        dialect: Dialect,
        problems: list[Problem],
        tables: Mapping[str, ListTable] | None = None,
        *,
        compat: bool = False,
        log_fw: bool = True,
    ) -> None:
        self._element = element
        self._dialect: Dialect = dialect
        self._problems = problems
        self._tables = tables or {}
        self._compat = compat
        self._log_fw = log_fw
        self.dropped = ""
        """Why Wazuh would leave this rule out; empty when it would not."""
        self._texts: dict[str, bytes] = {}
        self._negated: dict[str, bool] = {}
        self._forms: dict[str, Form] = {}
        self._networks: dict[str, list[tuple[bool, Network | None]]] = {"srcip": [], "dstip": []}
        self._words: set[str] = set()
        self._info: list[str] = []
        self._options = Options(dialect, compat=compat)
        self.asks: set[int] = set()
        self.mitre: list[str] = []
        self.group_text = group.encode()
        self.conditions: dict[str, list[Condition]] = {"field": [], "list": []}
        """By element."""
        self._readers: dict[str, Callable[[Element], None]] = {
            "srcip": self._read_network,
            "dstip": self._read_network,
            "field": self._read_field,
            "list": self._read_list,
            "options": self._read_options,
            "group": self._read_group,
            "info": self._read_info,
        }
        if dialect != "ossec":
            self._readers["mitre"] = self._read_mitre
        self.id = 0
        self._read_attributes()
        for child in element.children:
            self._read(child)
        self._read_parents()
        self._make_conditions()
        self.description = self._description()
        self.ignore_fields = self._ignore_words("ignore")
        self.check_ignored = self._ignore_words("check_if_ignored")
        self.source = self._source()
        self._frequency = self._read_frequency()
        self._timeframe = self._number("timeframe", 0, 99_999) or DEFAULT_TIMEFRAME_S
        self.ignore_s = self._number("ignore", 0 if dialect != "hids" else 1, MAX_TIME_S)

    def problem(self, text: str, *, line: int = 0) -> None:
        """Note something about this rule."""
        place = f"rule {self.id}: " if self.id else ""
        self._problems.append(Problem(self._element.file, line or self._element.line, place + text))

    def drop(self, text: str) -> None:
        """Note something for which Wazuh leaves a rule out with a warning; elsewhere it is a problem."""
        if self._dialect != "wazuh":
            self.problem(text)
        self.dropped = self.dropped or text

    @property
    def place(self) -> Element:
        """Where it stands."""
        return self._element

    # ---- attributes --------------------------------------------------------------------------------------

    def _read_attributes(self) -> None:
        ours = self._dialect == "hids"
        known = ("id", "level", "frequency", "timeframe", "ignore", "noalert", "maxsize", "overwrite")
        for attribute in self._element.attributes:
            if attribute.name not in known and (ours or attribute.name != "accuracy"):
                self.problem(f"unknown attribute {attribute.name} of <rule>", line=attribute.line)
        self.id = self._number("id", *(IDS if ours else (0, 999_999)), needed=True)
        self.level = self._number("level", 0, 9_999 if self._dialect == "ossec" else MAX_LEVEL, needed=True)
        self.rank = SILENT_RANK if self.level == 0 else 100 * self.level
        self.accurate = self._element.get("accuracy") is None or self._number("accuracy", 0, 9_999) != 0
        if not self.accurate:
            self.level = self.level or INACCURATE_LEVEL
            self.rank = self.level
        size = self._number("maxsize", 0, 9_999)
        if size:
            self.conditions["maxsize"] = [SizeAtLeast(size)]
        overwrite = self._element.get("overwrite")
        if overwrite not in (None, "yes", "no"):
            self.problem(f"overwrite must be yes or no, got {overwrite!r}")
        self.overwrites = overwrite == "yes"
        self.noalert = self._noalert()

    def _number(self, name: str, low: int, high: int, *, needed: bool = False) -> int:
        """A numeric attribute; OSSEC cuts off digits beyond its limit, the others say so. 0 where it is wrong."""
        text = self._element.get(name)
        if text is None:
            if needed:
                self.problem(f'expected {name}="..."; add it')
            return 0
        if not (text.isascii() and text.isdecimal()):
            self.problem(f"{name} must be a number, got {text!r}")
            return 0
        digits = _DIGITS[name]
        if self._dialect == "wazuh" and name in ("id", "level") and len(text) > digits:
            self.problem(f"{name} must be {low} to {high}, got {text[:20]}")
            return 0
        value = int(text[: digits if self._dialect == "ossec" else 9])
        if not low <= value <= high:
            self.problem(f"{name} must be {low} to {high}, got {value}")
            return 0
        return value

    def _noalert(self) -> bool:
        value = self._element.get("noalert")
        if value is None or self._dialect == "ossec":
            return value is not None
        if value not in ("yes", "no", "1", "0"):
            self.problem(f"noalert must be yes or no, got {value!r}")
        return value in ("yes", "1")

    # ---- elements ----------------------------------------------------------------------------------------

    def _read(self, child: Element) -> None:
        if self._dialect == "hids" and child.name in self._texts and child.name not in _REPEATABLE:
            self.problem(f"<{child.name}> is given twice; keep one", line=child.line)
        form = form_of(child.name, self._dialect)
        self._check_attributes_of(child, pattern=form is not None)
        reader = self._readers.get(child.name)
        if reader is not None:
            reader(child)
        elif child.name in _FLAGS:
            self.asks.add(_FLAGS[child.name])
        elif (child.name in _TEXTS and child.name not in (_NOT_OURS if self._dialect == "hids" else _SEQUENCES)) or (
            form is not None and plain_name(child.name) in MAKERS
        ):
            self._read_text(child, form)
        elif not self._options.take(child.name, _plain(child.text)):
            self.problem(f"unknown element <{child.name}>", line=child.line)
        elif child.name.endswith("_field") and not _plain(child.text):
            self.problem(f"<{child.name}> must name a field", line=child.line)

    def _check_attributes_of(self, child: Element, *, pattern: bool) -> None:
        allowed = {"field": ["name"], "info": ["type"], "list": ["field", "lookup", "check_value"]}.get(child.name, [])
        matched = child.name.startswith("if_matched_")
        if self._dialect != "ossec" and not matched and (pattern or child.name in ("srcip", "dstip")):
            allowed.append("negate")
            if self._dialect == "wazuh" and pattern:
                allowed.append("type")
        for attribute in child.attributes:
            if attribute.name not in allowed:
                self.problem(f"unknown attribute {attribute.name} of <{child.name}>", line=attribute.line)

    def _read_text(self, child: Element, form: Form | None) -> None:
        text = child.text
        if child.name == "description":
            text = text.replace(b"\n", b" ", 1)
        self._texts[child.name] = self._texts.get(child.name, b"") + text
        if form is not None:
            self._forms[child.name] = self._form(child, form)
            self._negated[child.name] = self._is_negated(child)

    def _form(self, child: Element, form: Form) -> Form:
        """How the text is read: `type` says so in Wazuh's files, and of repeated elements the last one counts."""
        written = child.get("type")
        if written is None:
            return form
        forms: dict[str, Form] = {"osmatch": "osmatch", "osregex": "osregex", "pcre2": "pcre2"}
        if written not in forms:
            self.problem(f"type must be osmatch, osregex or pcre2, got {written!r}", line=child.line)
        return forms.get(written, form)

    def _is_negated(self, child: Element) -> bool:
        written = child.get("negate")
        if written not in (None, "yes", "no"):
            self.problem(f"negate must be yes or no, got {written!r}", line=child.line)
        return written == "yes"

    def _read_group(self, child: Element) -> None:
        comma = b"," if self._dialect == "hids" and self.group_text[-1:] not in (b"", b",") else b""
        self.group_text += comma + child.text

    def _read_info(self, child: Element) -> None:
        if child.get("type") == "cve":
            self._texts["cve"] = self._texts.get("cve", b"") + child.text
        else:
            self._info.append(_plain(child.text))

    def _text(self, name: str) -> str | None:
        text = self._texts.get(name)
        return None if text is None else _plain(text)

    def _ids(self, name: str) -> tuple[int, ...]:
        text = self._text(name)
        if text is None:
            return ()
        words = text.replace(",", " ").split()
        if not words or not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):  # noqa: PLR2004
            self.drop(f"<{name}> must be numbers with commas between them, got {text!r}")
            return ()
        return tuple(map(int, words))

    def _read_network(self, child: Element) -> None:
        if self._is_negated(child):
            self._negated[child.name] = True
        for text in _plain(child.text).replace(",", " ").split():
            try:
                self._networks[child.name].append(network(text))
            except ValueError:
                self.problem(
                    f"<{child.name}> must be an address or a network like 192.0.2.0/24, got {text!r}",
                    line=child.line,
                )

    def _read_field(self, child: Element) -> None:
        name = child.get("name")
        if not name:
            self.problem('expected <field name="...">', line=child.line)
            return
        if self._dialect == "wazuh" and name in _STATIC:
            self.problem(f'<field name="{name}"> names a field that has an element of its own, <{name}>')
            return
        form = form_of("field", self._dialect)
        pattern = None if form is None else self._pattern("field", self._form(child, form), child.text)
        if pattern is None:
            return
        negated = self._is_negated(child)
        if self._dialect == "hids":
            names = ("dstuser", "srcuser") if name == "user" else (name,)
            self.conditions["field"].append(FieldMatches(names, pattern, negated))
        else:
            self.conditions["field"].append(DynamicMatches(name.lower(), pattern, negated))

    def _read_list(self, child: Element) -> None:
        name = child.get("field") or ""
        written = child.get("lookup") or "match_key"
        lookup: Lookup | None = next((known for known in LOOKUPS if known == written), None)
        if not name or (self._dialect == "ossec" and name not in _OSSEC_LISTED):
            self.problem(f'expected <list field="..."> with a field that can be looked up, got {name!r}')
        elif lookup is None:
            self.problem(f"lookup must be one of {', '.join(LOOKUPS)}, got {written!r}")
        else:
            checked = child.get("check_value")
            value = None
            if checked is not None:
                form = form_of("check_value", self._dialect)
                value = None if form is None else self._pattern("list", form, checked.encode())
            elif lookup.endswith("_value"):
                self.problem(f'lookup="{lookup}" needs a check_value')
            names = ("srcuser", "dstuser") if name == "user" else (name,)
            self.conditions["list"].append(InList(names, lookup, self._table(_plain(child.text)), value))

    def _table(self, name: str) -> ListTable:
        table = self._tables.get(name)
        if table is None:
            table = ListTable(name, None)
            if self._dialect != "ossec":
                self.drop(f"the list {name!r} is not there")
        return table

    def _read_options(self, child: Element) -> None:
        known = _OPTIONS if self._dialect == "ossec" else (*_OPTIONS, *_WAZUH_OPTIONS)
        for word in _plain(child.text).replace(",", " ").split():
            if word in known:
                self._words.add(word)
            else:
                self.problem(f"<options> may be {', '.join(known)}, got {word!r}", line=child.line)

    def _read_mitre(self, child: Element) -> None:
        for technique in child.children:
            text = _plain(technique.text)
            if technique.name != "id" or not text or (self._dialect == "hids" and not _ATTACK.fullmatch(text)):
                self.problem(f"<mitre> holds <id>s like T1110, T1110.001 or TA0001, got {text!r}", line=technique.line)
            else:
                self.mitre.append(text)

    def _ignore_words(self, name: str) -> tuple[str, ...]:
        """Fields of `<ignore>` and `<check_if_ignored>`. Wazuh has them, but its comparison never succeeds."""
        text = self._text(name)
        words = set((text or "").replace(",", " ").split())
        if text is not None and (not words or not words <= IGNORE_SLOTS.keys()):
            self.problem(f"<{name}> must be of {', '.join(IGNORE_SLOTS)}, got {text!r}")
        return () if self._dialect == "wazuh" else tuple(word for word in IGNORE_SLOTS if word in words)

    # ---- parents and windows -----------------------------------------------------------------------------

    def _read_parents(self) -> None:
        self.has_sids = "if_sid" in self._texts
        self.if_sid = self._ids("if_sid")
        self.if_group = self._text("if_group")
        levels = self._ids("if_level")
        self.if_level = levels[0] if levels else None
        self.decoded_as = self._text("decoded_as")
        self.category = self._text("category") or "syslog"
        if self.category not in TYPES:
            self.problem(f"category must be one of {', '.join(TYPES)}, got {self.category!r}")

    def _source(self) -> Source | None:
        sids, group = self._ids("if_matched_sid"), self._text("if_matched_group")
        regex, text = None, self._texts.get("if_matched_regex")
        form = form_of("if_matched_regex", self._dialect)
        if text is not None and form is not None:
            regex = self._pattern("if_matched_regex", form, text)
        sequence = self._sequence(sids)
        if sequence is not None:
            return Source(sequence=sequence)
        given = len(sids) + (group is not None) + (text is not None)
        if given > 1:
            self.problem("a composite counts one rule, one group or one regex; keep one <if_matched_...>")
        return Source(sids[0] if sids else None, group, regex) if given else None

    def _sequence(self, first: tuple[int, ...]) -> Sequence | None:
        """`if_matched_sid` begins it, `followed_by` or `unless` ends it."""
        given = [name for name in _SEQUENCES if name in self._texts]
        if not given:
            return None
        then = tuple(rule_id for name in given for rule_id in self._ids(name))
        unless = given == ["unless"]
        if len(given) > 1:
            self.problem("a rule has <followed_by> or <unless>, not both; write two rules")
        elif not first or {"if_matched_group", "if_matched_regex"} & self._texts.keys():
            self.problem(f"<{given[0]}> needs <if_matched_sid> for what comes first, and no other <if_matched_...>")
        elif not unless and set(first) & set(then):
            self.problem('<followed_by> names a rule of <if_matched_sid>; for "again" use frequency="2"')
        elif self._element.get("frequency") is not None:
            self.problem(f"frequency has no meaning with <{given[0]}>; leave it out")
        elif self._element.get("timeframe") is None:
            self.problem(f'<{given[0]}> needs timeframe="...", the seconds in which it must come')
        elif {"if_sid", "if_group", "if_level"} & self._texts.keys() or self.asks:
            self.problem(f"a rule with <{given[0]}> has its place by <if_matched_sid>; leave <if_...> out")
        elif unless and (self.conditions.keys() - {"field", "list"} or any(self.conditions.values())):
            self.problem("<unless> is about two rules; put conditions into these")
        return Sequence(first, then, unless)

    def _read_frequency(self) -> int | None:
        ours, written = self._dialect == "hids", self._element.get("frequency") is not None
        if self.source is None:
            timed = ours and self._element.get("timeframe") is not None
            if written or self._options.given or timed:
                what = "frequency needs" if written else "timeframe needs" if timed else "same_* and different_* need"
                self.problem(f"{what} <if_matched_sid>, <if_matched_group> or <if_matched_regex>")
            return None
        if ours and self.level == 0:
            self.problem("a composite of level 0 never fires; give it a level")
        if self._options.clash(sequence=self.source.sequence is not None):
            self.problem("different_* and distinct_* go with a frequency, one kind of them in a rule")
        unless = self.source.sequence is not None and self.source.sequence.unless
        if clash := self._options.scope_clash(unless=unless):
            self.problem(clash)
        if self._compat and (self.source.sequence is not None or self._options.counts_values):
            self.problem('sequences and distinct_* need correlation = "native"')
        if self.source.sequence is not None:
            return None
        low = 0 if self._dialect == "ossec" else 2
        frequency = self._number("frequency", low, MAX_FREQUENCY, needed=ours)
        return frequency if written else None

    def _window(self, source: Source | None) -> Window | None:
        """`source` is what it counts, which may come from a rule that this one overwrites."""
        if source is None:
            return None
        like = self._options.likeness(source)
        return Window(
            source=source,
            frequency=self._frequency,
            needed=1 if source.sequence is not None else needed(self._frequency, self._dialect),
            timeframe_s=self._timeframe,
            like=like,
            per_agent=not like.everywhere
            and (self._dialect == "wazuh" or (source.sequence is not None and source.sequence.unless)),
        )

    # ---- conditions --------------------------------------------------------------------------------------

    def _make_conditions(self) -> None:
        made = self.conditions
        if self._dialect != "hids" and self.id in TEMPLATES:
            logged = self._log_fw and self.category == "firewall"
            made["category"] = [Category(self.category, _FIREWALL_LOG[self._dialect] if logged else ())]
        if self.decoded_as is not None:
            made["decoded_as"] = [DecodedAs(self.decoded_as)]
        for name, entries in self._networks.items():
            if entries:
                choice: Choice = "any" if self._dialect == "wazuh" else "first"
                made[name] = [AddressIn(name, tuple(entries), choice, self._negated.get(name, False))]
        for element, form in self._forms.items():
            if plain_name(element) in MAKERS:
                made[element] = self._pattern_condition(element, form)
        if (program := self._text("compiled_rule")) is not None:
            if program in COMPILED:
                made["compiled_rule"] = [Compiled(program)]
            else:
                self.problem(f"compiled_rule must be one of {', '.join(COMPILED)}, got {program!r}")
        try:
            if (text := self._text("time")) is not None:
                made["time"] = [TimeIn(hours(text, self._dialect))]
            if (text := self._text("weekday")) is not None:
                made["weekday"] = [DayIn(days(text))]
        except ValueError as error:
            self.problem(str(error))

    def _pattern_condition(self, element: str, form: Form) -> list[Condition]:
        text, negated = self._texts[element], self._negated[element]
        if form == "exact":
            return [FieldEquals(element, text, negated)]
        pattern = self._pattern(element, form, text)
        return [] if pattern is None else [MAKERS[plain_name(element)](pattern, negated)]

    def _pattern(self, element: str, form: Form, text: bytes) -> Pattern | None:
        try:
            return Pattern(language(form, self._dialect), unescaped(text, self._dialect))
        except PatternError as error:
            self.problem(f"<{element}>: {error}")
            return None

    def _in_order(self) -> tuple[Condition, ...]:
        """All but lists, in the language's order; of `match` and `regex` OSSEC's other form counts only alone."""
        found: list[Condition] = []
        for name in ORDER:
            own, other = self.conditions.get(name, []), self.conditions.get(pcre2_form(name), [])
            found += own or other if name in ("match", "regex") else own + other
        return tuple(found)

    def _keeps(self, element: str) -> bool:
        kept = _KEPT[self._dialect]
        return element in kept or ("pcre2" in kept and element.endswith("pcre2"))

    # ---- the rule ----------------------------------------------------------------------------------------

    def over(self, old: "Definition") -> None:
        """Take what `overwrite` does not touch from the rule that this one replaces."""
        self.conditions = {
            element: (old if self._keeps(element) else self).conditions.get(element, [])
            for element in self.conditions.keys() | old.conditions.keys()
        }
        self.source = old.source
        self.rank = old.rank
        self.category = old.category
        if self._keeps("group"):
            self.group_text = old.group_text
        if self._keeps("ignore"):
            self.ignore_fields, self.check_ignored = old.ignore_fields, old.check_ignored

    def rule(self, index: int) -> Rule:
        """The finished rule; wrong parts are missing from it."""
        window = self._window(self.source)
        asks = tuple(op for op in (DIFF, FTS) if op in self.asks)
        lists = self.conditions.get("list", [])
        if self._compat and self._dialect != "hids":
            lists = lists[-LISTS_EVALUATED:]
        return Rule(
            index=index,
            id=self.id,
            level=self.level,
            rank=self.rank,
            description=self.description,
            template=None if self._dialect == "ossec" else template(self.description),
            conditions=(*self._in_order(), *(() if asks else lists)),
            asks=(*asks, WINDOW) if window is not None else asks,
            late=tuple(lists) if asks else (),
            group_text=self.group_text,
            groups=self._groups(),
            window=window,
            ignore_s=self.ignore_s,
            ignore_fields=self.ignore_fields,
            check_ignored=self.check_ignored,
            noalert=self.noalert,
            mail="no_email_alert" not in self._words and (self.level >= MAIL_LEVEL or "alert_by_email" in self._words),
            log=("log_alert" in self._words) - ("no_log" in self._words),
            full_log="no_full_log" not in self._words,
            counted="no_counter" not in self._words,
            responds=self.accurate and "no_ar" not in self._words,
            mitre=tuple(self.mitre),
            info=" ".join(self._info),
            cve=self._text("cve") or "",
            category=self.category,
        )

    def _groups(self) -> tuple[str, ...]:
        """The groups one by one; Wazuh shows them as they are written."""
        words = self.group_text.decode("utf-8", "replace").split(",")
        if self._dialect == "wazuh":
            return tuple(word for word in words if word)
        return tuple(dict.fromkeys(word.strip() for word in words if word.strip()))

    def _description(self) -> str:
        text = self._texts.get("description", b"").decode("utf-8", "replace")
        if not text.strip() and self._dialect != "ossec":
            self.problem("needs a <description>")
        return " ".join(text.replace("\\<", "<").split()) if self._dialect == "hids" else text


def _plain(text: bytes) -> str:
    return text.decode("utf-8", "replace").strip()
