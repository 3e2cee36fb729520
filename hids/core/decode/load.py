"""`<decoder>` elements -> `DecoderTree`. Every problem is noted; the tree is of use when there was none."""

from collections.abc import Iterable
from typing import get_args

from hids.core.decode.decoder import (
    FTS_ORDER,
    JSON,
    SCA,
    WINDOWS_EVENT,
    Decoder,
    DecoderTree,
    Offset,
    field_name,
    static_fields,
)
from hids.core.decode.plugins import PLUGINS
from hids.core.decode.told import syscheck_decoders
from hids.core.dialect import Dialect
from hids.core.markup import Element
from hids.core.pattern.pattern import Language, Pattern, PatternError
from hids.errors import Problem

TYPES = ("syslog", "firewall", "ids", "web-log", "squid", "windows", "host-information", "ossec")
"""Decoder types, which are also the categories of rules."""
MAX_ORDER = 256
"""Fields of one decoder; `analysisd.decoder_order_size` upstream."""

_LANGUAGES: dict[Dialect, dict[str, Language]] = {
    "ossec": {
        "program_name": "os_match",
        "program_name_pcre2": "pcre2-caseless",
        "prematch": "os_regex",
        "prematch_pcre2": "pcre2-caseless",
        "regex": "os_regex",
        "pcre2": "pcre2-caseless",
    },
    "wazuh": {"program_name": "osmatch", "prematch": "osregex", "regex": "osregex"},
    "hids": {"program_name": "pcre2", "prematch": "pcre2", "regex": "pcre2"},
}
_TYPED: dict[str, tuple[Language, ...]] = {
    "program_name": ("osmatch", "osregex", "pcre2"),
    "prematch": ("osregex", "pcre2"),
    "regex": ("osregex", "pcre2"),
}
"""What Wazuh's `type=` may name."""
_UPSTREAM = ("type", "ftscomment", "status", "fts", "accumulate", "plugin_decoder")
_PLAIN: dict[Dialect, tuple[str, ...]] = {
    "ossec": ("parent", "order", "use_own_name", *_UPSTREAM),
    "wazuh": ("parent", "order", "use_own_name", *_UPSTREAM, "json_null_field", "json_array_structure"),
    "hids": ("parent", "order", "use_own_name", "fts", "plugin_decoder"),
}
_PLUGINS: dict[Dialect, dict[str, str]] = {
    "ossec": {name: name for name in PLUGINS},
    "wazuh": {name: name for name in (*PLUGINS, JSON)},
    "hids": {"json": JSON, "sca": SCA},
}
"""Word of `<plugin_decoder>` -> what it stands for."""
_OFFSETS: dict[str, Offset] = {
    "after_parent": "parent",
    "after_prematch": "prematch",
    "after_regex": "regex",
}


_OFFSET_WORDS = {
    "prematch": ("after_parent",),
    "regex": tuple(_OFFSETS),
    "plugin_decoder": ("after_parent", "after_prematch"),
}


def load_decoders(elements: Iterable[Element], dialect: Dialect, problems: list[Problem]) -> DecoderTree:
    """Build the tree in load order; a child hangs under every decoder of its parent's name before it."""
    roots: list[_Root] = []
    count = 0
    for element in elements:
        draft = _Draft(element, dialect, problems)
        parents = [root for root in roots if root.draft.name == draft.parent]
        draft.check(parents)
        count += 1
        if draft.parent is None:
            roots.append(_Root(draft))
        for parent in parents:
            parent.children.append(draft)
    frozen = [root.freeze() for root in roots]
    if dialect == "wazuh":
        frozen.append(_WINDOWS)
    if dialect != "hids":
        frozen.append(_ROOTCHECK)
        frozen.extend(syscheck_decoders(dialect))
        frozen.append(_SCA)
    return DecoderTree(
        dialect,
        tuple(root for root in frozen if root.program is not None),
        tuple(root for root in frozen if root.program is None),
        count,
    )


_WINDOWS = Decoder(
    written="windows_eventchannel",
    name="windows_eventchannel",
    parent=None,
    type="ossec",
    program=Pattern("osmatch", b"^hids:eventchannel$"),
    prematch=None,
    prematch_offset="start",
    regex=None,
    regex_offset="start",
    order=(),
    plugin=WINDOWS_EVENT,
)
"""Wazuh's decoder for lines of kind `eventchannel`, which no file defines."""

_ROOTCHECK = Decoder(
    written="rootcheck",
    name="rootcheck",
    parent=None,
    type="ossec",
    program=Pattern("osmatch", b"^hids:rootcheck$"),
    prematch=None,
    prematch_offset="start",
    regex=Pattern("pcre2", rb"(?s)^(.+)$"),
    regex_offset="start",
    order=("extra_data",),
    fts=("extra_data", "location"),
)
"""OSSEC's and Wazuh's decoder for lines of kind `rootcheck`: a finding that was told before is not new (`<if_fts>`)."""


_SCA = Decoder(
    written="sca",
    name="sca",
    parent=None,
    type="ossec",
    program=Pattern("osmatch", b"^hids:sca$"),
    prematch=None,
    prematch_offset="start",
    regex=None,
    regex_offset="start",
    order=(),
    plugin=SCA,
)
"""Wazuh's decoder for lines of kind `sca`, which no file defines. OSSEC has none; there it keeps its rules for logs away."""


class _Root:
    def __init__(self, draft: "_Draft") -> None:
        self.draft = draft
        self.children: list[_Draft] = []

    def freeze(self) -> Decoder:
        names = [child.name for child in self.children]
        children = tuple(
            child.freeze(self.draft.name, chained=child.name in names[i + 1 :]) for i, child in enumerate(self.children)
        )
        return self.draft.freeze(None, children=children)


class _Draft:
    """A decoder as its element says it."""

    def __init__(self, element: Element, dialect: Dialect, problems: list[Problem]) -> None:
        self.element = element
        self.name = element.get("name") or ""
        self.parent: str | None = None
        self._dialect: Dialect = dialect
        self._problems = problems
        self._texts: dict[str, bytes] = {}
        self._patterns: dict[str, Pattern] = {}
        self._offsets: dict[str, Offset] = {}
        self._languages: dict[str, Language] = dict(_LANGUAGES[dialect])
        self.type = "syslog"
        self._own_name = False
        self._order: tuple[str, ...] = ()
        self._fts: tuple[str, ...] = ()
        self._plugin: str | None = None
        if not self.name:
            self._problem('expected <decoder name="...">, got no name')
        for attribute in element.attributes:
            if attribute.name != "name":
                self._problem(f"unknown attribute {attribute.name} of <decoder>; delete it", line=attribute.line)
        for child in element.children:
            self._read(child)
        self._compile()

    def _problem(self, text: str, *, line: int = 0) -> None:
        place = f"decoder {self.name}: " if self.name else ""
        self._problems.append(Problem(self.element.file, line or self.element.line, place + text))

    # ---- reading -----------------------------------------------------------------------------------------

    def _read(self, child: Element) -> None:
        if child.name not in self._languages and child.name not in _PLAIN[self._dialect]:
            self._problem(f"unknown element <{child.name}>", line=child.line)
            return
        if self._dialect == "hids" and child.name in self._texts:
            self._problem(f"<{child.name}> is given twice; keep one", line=child.line)
        self._texts[child.name] = self._texts.get(child.name, b"") + child.text
        kind = self._kind(child.name)
        for attribute in child.attributes:
            if attribute.name == "offset" and kind in _OFFSET_WORDS:
                self._read_offset(kind, attribute.value, attribute.line)
            elif attribute.name == "type" and self._dialect == "wazuh" and kind in _TYPED:
                self._read_type(kind, attribute.value, attribute.line)
            else:
                self._problem(f"unknown attribute {attribute.name} of <{child.name}>; delete it", line=attribute.line)

    def _read_type(self, kind: str, value: str, line: int) -> None:
        for language in _TYPED[kind]:
            if value.lower() == language:
                self._languages[kind] = language
                return
        self._problem(f"type of <{kind}> must be {' or '.join(_TYPED[kind])}, got {value!r}", line=line)

    def _read_offset(self, kind: str, value: str, line: int) -> None:
        allowed = _OFFSET_WORDS[kind]
        if value in allowed:
            self._offsets[kind] = _OFFSETS[value]
        else:
            self._problem(f"offset of <{kind}> must be {' or '.join(allowed)}, got {value!r}", line=line)

    def _kind(self, name: str) -> str:
        """`prematch` for all that says what a prematch is, and so on."""
        return {"pcre2": "regex"}.get(name, name.removesuffix("_pcre2"))

    def _compile(self) -> None:
        for name, language in self._languages.items():
            text = self._texts.get(name)
            kind = self._kind(name)
            if text is None or kind in self._patterns:
                continue
            try:
                self._patterns[kind] = Pattern(language, unescaped(text, self._dialect))
            except PatternError as error:
                self._problem(f"<{name}>: {error}")
        self._read_order()
        if (parent := self._text("parent")) is not None:
            self.parent = parent
        self.type = self._text("type") or "syslog"
        if self.type not in TYPES:
            self._problem(f"type must be one of {', '.join(TYPES)}, got {self.type!r}")
        own = self._text("use_own_name")
        if own not in (None, "true", "false"):
            self._problem(f"use_own_name must be true or false, got {own!r}")
        self._own_name = own == "true"
        self._read_plugin()
        self._read_fts()
        self._check_json()

    def _text(self, name: str) -> str | None:
        text = self._texts.get(name)
        if text is None:
            return None
        shown = text.decode("utf-8", "replace")
        return shown if self._dialect == "ossec" else shown.strip()

    def _read_plugin(self) -> None:
        name = self._text("plugin_decoder")
        if name is None:
            return
        known = _PLUGINS[self._dialect]
        self._plugin = known.get(name.strip())
        if self._plugin is None:
            self._problem(f"plugin_decoder must be one of {', '.join(known)}, got {name!r}")

    def _read_fts(self) -> None:
        text = self._text("fts")
        if text is None:
            return
        parts: set[str] = set()
        for word in text.split(","):
            part = fts_part(word.strip(), self._dialect)
            if part is None and self._dialect != "ossec" and word.strip() in self._order:
                part = word.strip()
            if part is None:
                self._problem(f"<fts> does not know {word.strip()!r}; name static fields, name or location")
            elif part != "name":
                parts.add(part)
        self._fts = (*(part for part in FTS_ORDER if part in parts), *sorted(parts.difference(FTS_ORDER)))

    def _read_order(self) -> None:
        text = self._text("order")
        if text is None:
            return
        written = text.split(",")
        names = [name.removeprefix(" ") if self._dialect == "ossec" else name.strip() for name in written]
        if self._dialect == "wazuh":
            names = [name.partition(" ")[0] for name in names]  # its names end at a space, and so may be one twice
        if self._dialect == "hids" and not all(names):
            self._problem("<order> has an empty name; write names with commas between them")
        if len(names) > MAX_ORDER:
            self._problem(f"<order> may have {MAX_ORDER} names, it has {len(names)}")
        self._order = tuple(field_name(name, self._dialect) for name in names)

    # ---- checking ----------------------------------------------------------------------------------------

    def check(self, parents: list[_Root]) -> None:
        """What the elements must be to each other, and to the decoders before."""
        has = self._patterns.keys() | self._texts.keys()
        if self.parent is None and not has & {
            "prematch",
            "prematch_pcre2",
            "program_name",
            "program_name_pcre2",
        }:
            self._problem("needs a <parent>, a <program_name> or a <prematch>")
        if self.parent is not None and not parents:
            self._problem(
                f"parent {self.parent!r} is not a top-level decoder loaded before this one; "
                "children of children do not exist"
            )
        takes = bool(has & {"regex", "pcre2"})
        if takes != ("order" in has):
            self._problem("<regex> and <order> go together; add the missing one")
        if takes and self._plugin is not None:
            self._problem("<regex> and <plugin_decoder> exclude each other; keep one")
        if "fts" in has and not (takes or (self._plugin is not None and self._dialect == "wazuh")):
            self._problem("<fts> needs a <regex>")
        regex = self._patterns.get("regex")
        if self._dialect == "ossec" and regex is not None and not regex.captures:
            self._problem("<regex> is plain text with an anchor and captures nothing; put what to keep in ( )")
        if self.parent is None and "parent" in self._offsets.values():
            self._problem('offset="after_parent" needs a <parent>')
        self._check_regex_offset(parents)
        for parent in parents:
            self._check_siblings([child for child in parent.children if child.name == self.name])

    def _check_regex_offset(self, parents: list[_Root]) -> None:
        offset = self._offsets.get("regex", self._offsets.get("plugin_decoder"))
        if offset == "prematch" and self.parent is not None and "prematch" not in self._patterns:
            self._problem('offset="after_prematch" needs a <prematch>')
        earlier = parents and all(any(c.name == self.name for c in p.children) for p in parents)
        if offset == "regex" and not earlier:
            self._problem('offset="after_regex" needs an earlier decoder of the same name and parent')

    def _check_siblings(self, earlier: list["_Draft"]) -> None:
        if not earlier:
            return
        if "prematch" in self._patterns or "fts" in self._texts:
            self._problem("only the first of several decoders of one name may have a <prematch> or <fts>")
        if not all(member.takes_fields for member in (self, *earlier)):
            self._problem("each of several decoders of one name needs a <regex>")

    @property
    def takes_fields(self) -> bool:
        """Whether it can be a member of a chain."""
        return "regex" in self._patterns or (self._dialect == "wazuh" and self._plugin is not None)

    def freeze(self, parent: str | None, *, chained: bool = False, children: tuple[Decoder, ...] = ()) -> Decoder:
        """The finished decoder."""
        return Decoder(
            written=self.name,
            name=self.name if parent is None or self._own_name else parent,
            parent=parent,
            type=self.type,
            program=self._patterns.get("program_name"),
            prematch=self._patterns.get("prematch"),
            prematch_offset=self._offsets.get("prematch", "start"),
            regex=self._patterns.get("regex"),
            regex_offset=self._offsets.get("regex", "start"),
            order=self._order,
            static=static_fields(self._dialect).issuperset(self._order),
            takes_over=self._dialect != "wazuh",
            plugin=self._plugin,
            plugin_offset=self._offsets.get("plugin_decoder", "start"),
            json_null=self._json_null(),
            json_csv=self._text("json_array_structure") == "csv",
            fts=self._fts,
            accumulate="accumulate" in self._texts,
            chained=chained,
            children=children,
        )

    def _json_null(self) -> bytes | None:
        """Our own dialect takes null for what it says: there is no such field."""
        discards = self._dialect == "hids" or self._text("json_null_field") == "discard"
        return None if discards else b"null"

    def _check_json(self) -> None:
        for name, words in _JSON_WORDS.items():
            text = self._text(name)
            if text is not None and text not in words:
                self._problem(f"{name} must be one of {', '.join(words)}, got {text!r}")


_JSON_WORDS = {"json_null_field": ("string", "discard", "empty"), "json_array_structure": ("array", "csv")}

_FTS_WORDS = {
    **{word: word for word in ("name", "srcip", "dstip", "id", "location", "system_name", "dstuser", "srcuser")},
    "user": "dstuser",
    "data": "data",
    "extra_data": "data",
}
_OSSEC_FTS_WORDS = {
    "user": "dstuser",
    **{word: word for word in ("srcip", "dstip", "id", "location")},
    "data": "extra_data",
    "system_name": "system_name",
    "name": "name",
}
"""OSSEC takes the first of these that the word contains, so that `srcuser` is `dstuser`."""


def fts_part(word: str, dialect: Dialect) -> str | None:
    """The field that a word of `<fts>` stands for, `name` or `location`; None for a word unknown."""
    if dialect == "ossec":
        return next((part for contained, part in _OSSEC_FTS_WORDS.items() if contained in word), None)
    return _FTS_WORDS.get(word)


def unescaped(text: bytes, dialect: Dialect) -> bytes:
    r"""A pattern's text. `\<` is part of it in OSSEC's files; in ours it is how XML lets one write `<`."""
    return text.replace(b"\\<", b"<") if dialect == "hids" else text


assert set(_OFFSETS.values()) < set(get_args(Offset))  # noqa: S101 - one table names the other's words
