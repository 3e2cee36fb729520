"""One `<rule>` element -> one rule. What other rules it hangs under is not decided here."""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from hids.core.decode.load import TYPES, unescaped
from hids.core.dialect import Dialect
from hids.core.markup import Element
from hids.core.pattern.pattern import Language, Pattern, PatternError
from hids.core.rules.conditions import (
    AddressIn,
    Category,
    Condition,
    DecodedAs,
    DynamicMatches,
    FieldEquals,
    FieldMatches,
    Hostname,
    LogMatches,
    Network,
    ProgramName,
    network,
)
from hids.core.rules.rule import Rule, Window
from hids.errors import Problem

IDS = (200_000, 299_999)
"""Ids of dialect `hids`: outside of those that OSSEC, Wazuh and their users' own rules have."""
MAX_LEVEL = 16
MAX_FREQUENCY = 9_999
MAX_TIME_S = 999_999
MAIL_LEVEL = 7
"""From this level on an alert is for mail, unless an option says otherwise; OSSEC's `email_alert_level`."""
DEFAULT_TIMEFRAME_S = 360
"""`analysisd.default_timeframe`."""

Kind = Literal["text", "pattern", "flag", "list"]


class _Digits(NamedTuple):
    """OSSEC cuts a number to so many digits."""

    id: int = 6
    level: int = 4
    frequency: int = 4
    timeframe: int = 5
    ignore: int = 6


_DIGITS = _Digits()

_MAKERS: dict[str, Callable[[Pattern], Condition]] = {
    "program_name": ProgramName,
    "id": lambda pattern: FieldMatches(("id",), pattern),
    "match": LogMatches,
    "regex": LogMatches,
    "action": lambda pattern: FieldMatches(("action",), pattern),
    "url": lambda pattern: FieldMatches(("url",), pattern),
    "srcport": lambda pattern: FieldMatches(("srcport",), pattern),
    "dstport": lambda pattern: FieldMatches(("dstport",), pattern),
    "user": lambda pattern: FieldMatches(("dstuser", "srcuser"), pattern),
    "extra_data": lambda pattern: FieldMatches(("extra_data",), pattern),
    "hostname": Hostname,
    "status": lambda pattern: FieldMatches(("status",), pattern),
}
"""The conditions that are a pattern on something, by element."""

_ORDER = (
    "decoded_as",
    "program_name",
    "id",
    "match",
    "regex",
    "action",
    "url",
    "field",
    "srcip",
    "dstip",
    "srcport",
    "dstport",
    "user",
    "extra_data",
    "hostname",
    "status",
)
"""The language's order of conditions."""

_TEXTS = (
    "category",
    "if_sid",
    "if_group",
    "if_level",
    "if_matched_sid",
    "if_matched_group",
    "decoded_as",
    "description",
)
_REPEATABLE = ("group", "options", "srcip", "dstip", "field", "info")
_SAME: dict[Dialect, dict[str, str]] = {
    "ossec": {
        "same_source_ip": "srcip",
        "same_srcip": "srcip",
        "same_user": "dstuser",
        "same_id": "id",
        "same_location": "location",
        "same_src_port": "srcport",
        "same_dst_port": "dstport",
    },
    "hids": {
        "same_source_ip": "srcip",
        "same_srcip": "srcip",
        "same_dstip": "dstip",
        "same_user": "user",
        "same_srcuser": "srcuser",
        "same_dstuser": "dstuser",
        "same_id": "id",
        "same_url": "url",
        "same_location": "location",
        "same_srcport": "srcport",
        "same_src_port": "srcport",
        "same_dstport": "dstport",
        "same_dst_port": "dstport",
    },
}
"""The slot that each option compares."""
_OPTIONS = ("alert_by_email", "no_email_alert", "log_alert", "no_log", "no_ar")
_ATTRIBUTES = ("id", "level", "frequency", "timeframe", "ignore", "noalert")
_LATER_ATTRIBUTES = ("maxsize", "accuracy", "overwrite")
_LATER = frozenset(
    (
        *("check_diff", "if_fts", "list", "time", "weekday", "compiled_rule", "if_matched_regex"),
        *("different_url", "different_srcip", "different_srcgeoip", "srcgeoip", "dstgeoip"),
        *("srcgeoip_pcre2", "dstgeoip_pcre2", "check_if_ignored", "ignore"),
        *("not_same_source_ip", "not_same_user", "not_same_id", "not_same_agent"),
    )
)
"""Elements of the language that this version does not have yet."""
_EXPANDED = re.compile(r"\$\([A-Za-z_][\w.]*\)")
_TECHNIQUE = re.compile(r"T[0-9]{4}(?:\.[0-9]{3})?")


class Definition:
    """A rule as its element says it. What is wrong goes to `problems`; a wrong part is left out."""

    def __init__(self, element: Element, group: str, dialect: Dialect, problems: list[Problem]) -> None:
        self._element = element
        self._dialect: Dialect = dialect
        self._problems = problems
        self._texts: dict[str, bytes] = {}
        self._group_text = group.encode()
        self._networks: dict[str, list[tuple[bool, Network | None]]] = {"srcip": [], "dstip": []}
        self._fields: list[Condition] = []
        self._options: set[str] = set()
        self._key: set[str] = set()
        self._mitre: list[str] = []
        self._readers: dict[str, Callable[[Element], None]] = {
            "srcip": self._read_network,
            "dstip": self._read_network,
            "field": self._read_field,
            "options": self._read_options,
            "group": self._read_group,
        }
        if dialect == "hids":
            self._readers["mitre"] = self._read_mitre
        self.id = 0
        self.id = self._number("id", _DIGITS.id, *(IDS if dialect == "hids" else (0, 999_999)), needed=True)
        self.level = self._number("level", _DIGITS.level, 0, MAX_LEVEL if dialect == "hids" else 9_999, needed=True)
        self._check_attributes()
        for child in element.children:
            self._read(child)
        self.if_sid = self._ids("if_sid")
        self.if_group = self._text("if_group")
        levels = self._ids("if_level")
        self.if_level = levels[0] if levels else None
        self.decoded_as = self._text("decoded_as")
        self.category = self._text("category") or "syslog"
        if self.category not in TYPES:
            self.problem(f"category must be one of {', '.join(TYPES)}, got {self.category!r}")

    def problem(self, text: str, *, line: int = 0) -> None:
        """Note something about this rule."""
        place = f"rule {self.id}: " if self.id else ""
        self._problems.append(Problem(self._element.file, line or self._element.line, place + text))

    # ---- attributes --------------------------------------------------------------------------------------

    def _check_attributes(self) -> None:
        for attribute in self._element.attributes:
            if attribute.name in _LATER_ATTRIBUTES:
                self.problem(f'{attribute.name}="..." is not supported in this version', line=attribute.line)
            elif attribute.name not in _ATTRIBUTES:
                self.problem(f"unknown attribute {attribute.name} of <rule>", line=attribute.line)

    def _number(self, name: str, digits: int, low: int, high: int, *, needed: bool = False) -> int:
        """A numeric attribute; OSSEC cuts off digits beyond its limit, ours says so. 0 where it is wrong."""
        text = self._element.get(name)
        if text is None:
            if needed:
                self.problem(f'expected {name}="..."; add it')
            return 0
        if not (text.isascii() and text.isdecimal()):
            self.problem(f"{name} must be a number, got {text!r}")
            return 0
        value = int(text[: digits if self._dialect == "ossec" else 9])
        if not low <= value <= high:
            self.problem(f"{name} must be {low} to {high}, got {value}")
            return 0
        return value

    # ---- elements ----------------------------------------------------------------------------------------

    def _read(self, child: Element) -> None:
        if self._dialect == "hids" and child.name in self._texts and child.name not in _REPEATABLE:
            self.problem(f"<{child.name}> is given twice; keep one", line=child.line)
        self._check_child_attributes(child)
        reader = self._readers.get(child.name)
        if reader is not None:
            reader(child)
        elif child.name in _SAME[self._dialect]:
            self._key.add(_SAME[self._dialect][child.name])
        elif child.name in _TEXTS or self._language(child.name) is not None:
            self._texts[child.name] = self._texts.get(child.name, b"") + child.text
        elif child.name in _LATER:
            self.problem(f"<{child.name}> is not supported in this version", line=child.line)
        elif child.name not in ("info", "cve"):
            self.problem(f"unknown element <{child.name}>", line=child.line)

    def _read_group(self, child: Element) -> None:
        comma = b"," if self._dialect == "hids" and self._group_text[-1:] not in (b"", b",") else b""
        self._group_text += comma + child.text

    def _check_child_attributes(self, child: Element) -> None:
        for attribute in child.attributes:
            if (child.name, attribute.name) not in (
                ("field", "name"),
                ("info", "type"),
            ) and child.name not in _LATER:
                self.problem(f"unknown attribute {attribute.name} of <{child.name}>", line=attribute.line)

    def _language(self, element: str) -> Language | None:
        """The pattern language of an element; None for one that holds no pattern."""
        if self._dialect == "hids":
            return "pcre2" if element in _MAKERS else None
        if element == "pcre2" or (element.endswith("_pcre2") and element.removesuffix("_pcre2") in _MAKERS):
            return None if element in ("regex_pcre2", "action_pcre2") else "pcre2-caseless"
        if element not in _MAKERS:
            return None
        return "os_regex" if element == "regex" else "os_match"

    def _text(self, name: str) -> str | None:
        text = self._texts.get(name)
        return None if text is None else text.decode("utf-8", "replace").strip()

    def _ids(self, name: str) -> tuple[int, ...]:
        text = self._text(name)
        if text is None:
            return ()
        words = text.replace(",", " ").split()
        if not words or not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):  # noqa: PLR2004
            self.problem(f"<{name}> must be numbers with commas between them, got {text!r}")
            return ()
        return tuple(map(int, words))

    def _read_network(self, child: Element) -> None:
        for text in child.text.decode("utf-8", "replace").replace(",", " ").split():
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
        pattern = self._pattern("field", "os_regex" if self._dialect == "ossec" else "pcre2", child.text)
        if pattern is None:
            return
        if self._dialect == "ossec":
            self._fields.append(DynamicMatches(name.lower(), pattern))
        else:
            names = ("dstuser", "srcuser") if name == "user" else (name,)
            self._fields.append(FieldMatches(names, pattern))

    def _read_options(self, child: Element) -> None:
        for word in child.text.decode("utf-8", "replace").replace(",", " ").split():
            if word in _OPTIONS:
                self._options.add(word)
            else:
                self.problem(f"<options> may be {', '.join(_OPTIONS)}, got {word!r}", line=child.line)

    def _read_mitre(self, child: Element) -> None:
        for technique in child.children:
            text = technique.text.decode("utf-8", "replace").strip()
            if technique.name == "id" and _TECHNIQUE.fullmatch(text):
                self._mitre.append(text)
            else:
                self.problem("<mitre> holds <id>s like T1110 or T1110.001", line=technique.line)

    # ---- the rule ----------------------------------------------------------------------------------------

    def rule(self, index: int) -> Rule:
        """The finished rule; wrong parts are missing from it."""
        window = self._window()
        groups = tuple(
            g for g in (word.strip() for word in self._group_text.decode("utf-8", "replace").split(",")) if g
        )
        ignore_s = self._number("ignore", _DIGITS.ignore, 1, MAX_TIME_S)
        if ignore_s and window is None:
            self.problem("ignore on a rule that is no composite is not supported in this version")
        return Rule(
            index=index,
            id=self.id,
            level=self.level,
            description=self._description(),
            conditions=self._conditions(),
            group_text=self._group_text,
            groups=tuple(dict.fromkeys(groups)),
            window=window,
            ignore_s=ignore_s,
            noalert=self._noalert(),
            mail="no_email_alert" not in self._options
            and (self.level >= MAIL_LEVEL or "alert_by_email" in self._options),
            log=("log_alert" in self._options) - ("no_log" in self._options),
            mitre=tuple(self._mitre),
            category=self.category,
        )

    def _description(self) -> str:
        text = self._text("description") or ""
        if self._dialect == "ossec":
            return text
        text = text.replace("\\<", "<")
        if not text:
            self.problem("needs a <description>")
        if _EXPANDED.search(text):
            self.problem("$(field) in a <description> is not supported in this version")
        return " ".join(text.split())

    def _noalert(self) -> bool:
        value = self._element.get("noalert")
        if value is None or self._dialect == "ossec":
            return value is not None
        if value not in ("yes", "no", "1", "0"):
            self.problem(f"noalert must be yes or no, got {value!r}")
        return value in ("yes", "1")

    def _conditions(self) -> tuple[Condition, ...]:
        found: list[Condition] = []
        if self._dialect == "ossec" and 0 < self.id < 10:  # noqa: PLR2004 - OSSEC's templates, one a category
            found.append(Category(self.category))
        for name in _ORDER:
            found += self._conditions_of(name)
        return tuple(found)

    def _conditions_of(self, name: str) -> list[Condition]:
        if name == "decoded_as":
            return [] if self.decoded_as is None else [DecodedAs(self.decoded_as)]
        if name == "field":
            return self._fields
        if name in self._networks:
            entries = self._networks[name]
            return [AddressIn(name, tuple(entries))] if entries else []
        if name == "action" and self._dialect == "ossec":
            value = self._texts.get("action")
            return [] if value is None else [FieldEquals("action", value)]
        return self._patterns_of(name)

    def _patterns_of(self, name: str) -> list[Condition]:
        """The element and its `_pcre2` form; of `match` and `regex` only the first counts, as upstream."""
        found: list[Condition] = []
        for element in (name, "pcre2" if name == "regex" else name + "_pcre2"):
            text, language = self._texts.get(element), self._language(element)
            if text is None or language is None or (found and name in ("match", "regex")):
                continue
            pattern = self._pattern(element, language, text)
            if pattern is not None:
                found.append(_MAKERS[name](pattern))
        return found

    def _pattern(self, element: str, language: Language, text: bytes) -> Pattern | None:
        try:
            return Pattern(language, unescaped(text, self._dialect))
        except PatternError as error:
            self.problem(f"<{element}>: {error}")
            return None

    def _window(self) -> Window | None:
        sids, group = self._ids("if_matched_sid"), self._text("if_matched_group")
        for name in ("frequency", "timeframe"):
            if not sids and group is None and self._element.get(name) is not None and self._dialect == "hids":
                self.problem(f"{name} needs <if_matched_sid> or <if_matched_group>")
        if not sids and group is None:
            if self._dialect == "ossec" and (self._element.get("frequency") or self._key):
                self.problem("frequency and same_* need <if_matched_sid> or <if_matched_group>")
            elif self._key:
                self.problem("same_* needs <if_matched_sid> or <if_matched_group>")
            return None
        return self._composite(sids, group)

    def _composite(self, sids: tuple[int, ...], group: str | None) -> Window:
        if len(sids) > 1 or (sids and group is not None):
            self.problem("a composite counts one rule or one group; keep one <if_matched_sid> or <if_matched_group>")
        ours = self._dialect == "hids"
        if ours and self.level == 0:
            self.problem("a composite of level 0 never fires; give it a level")
        written = self._element.get("frequency") is not None
        frequency = self._number("frequency", _DIGITS.frequency, 2 if ours else 0, MAX_FREQUENCY, needed=ours)
        timeframe = self._number("timeframe", _DIGITS.timeframe, 1 if ours else 0, 99_999)
        return Window(
            sid=sids[0] if sids else None,
            group=group,
            frequency=frequency if written else None,
            needed=max(frequency - 1, 1) if ours else frequency + 1,
            timeframe_s=timeframe or DEFAULT_TIMEFRAME_S,
            key=tuple(sorted(self._key)),
        )
