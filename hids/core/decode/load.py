"""`<decoder>` elements -> `DecoderTree`. Every problem is noted; the tree is of use when there was none."""

from collections.abc import Iterable
from typing import get_args

from hids.core.decode.decoder import Decoder, DecoderTree, Offset, field_name
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
    "hids": {"program_name": "pcre2", "prematch": "pcre2", "regex": "pcre2"},
}
_PLAIN = ("parent", "order", "use_own_name")
_OSSEC_ONLY = ("type", "ftscomment", "status")
_LATER = ("fts", "accumulate", "plugin_decoder")
_OFFSETS: dict[str, Offset] = {
    "after_parent": "parent",
    "after_prematch": "prematch",
    "after_regex": "regex",
}


def load_decoders(elements: Iterable[Element], dialect: Dialect, problems: list[Problem]) -> DecoderTree:
    """Build the tree in load order; a child hangs under every decoder of its parent's name before it."""
    roots: list[_Root] = []
    count = 0
    for element in elements:
        if dialect not in _LANGUAGES:
            text = f'decoders of dialect "{dialect}" cannot be read in this version; its rules can be checked without'
            problems.append(Problem(element.file, element.line, text))
            break
        draft = _Draft(element, dialect, problems)
        parents = [root for root in roots if root.draft.name == draft.parent]
        draft.check(parents)
        count += 1
        if draft.parent is None:
            roots.append(_Root(draft))
        for parent in parents:
            parent.children.append(draft)
    frozen = [root.freeze() for root in roots]
    return DecoderTree(
        dialect,
        tuple(root for root in frozen if root.program is not None),
        tuple(root for root in frozen if root.program is None),
        count,
    )


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
        self.type = "syslog"
        self._own_name = False
        self._order: tuple[str, ...] = ()
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
        kind = self._kind(child.name)
        patterns = _LANGUAGES[self._dialect]
        if child.name in _LATER:
            self._problem(f"<{child.name}> is not supported in this version", line=child.line)
            return
        if child.name not in (*patterns, *_PLAIN, *(_OSSEC_ONLY if self._dialect == "ossec" else ())):
            self._problem(f"unknown element <{child.name}>", line=child.line)
            return
        if self._dialect == "hids" and child.name in self._texts:
            self._problem(f"<{child.name}> is given twice; keep one", line=child.line)
        self._texts[child.name] = self._texts.get(child.name, b"") + child.text
        for attribute in child.attributes:
            if attribute.name == "offset" and kind in ("prematch", "regex"):
                self._read_offset(kind, attribute.value, attribute.line)
            else:
                self._problem(f"unknown attribute {attribute.name} of <{child.name}>; delete it", line=attribute.line)

    def _read_offset(self, kind: str, value: str, line: int) -> None:
        allowed = ("after_parent",) if kind == "prematch" else tuple(_OFFSETS)
        if value in allowed:
            self._offsets[kind] = _OFFSETS[value]
        else:
            self._problem(f"offset of <{kind}> must be {' or '.join(allowed)}, got {value!r}", line=line)

    def _kind(self, name: str) -> str:
        """`prematch` for all that says what a prematch is, and so on."""
        return {"pcre2": "regex"}.get(name, name.removesuffix("_pcre2"))

    def _compile(self) -> None:
        for name, language in _LANGUAGES[self._dialect].items():
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

    def _text(self, name: str) -> str | None:
        text = self._texts.get(name)
        if text is None:
            return None
        shown = text.decode("utf-8", "replace")
        return shown if self._dialect == "ossec" else shown.strip()

    def _read_order(self) -> None:
        text = self._text("order")
        if text is None:
            return
        written = text.split(",")
        names = [name.removeprefix(" ") if self._dialect == "ossec" else name.strip() for name in written]
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
        if bool(has & {"regex", "pcre2"}) != ("order" in has):
            self._problem("<regex> and <order> go together; add the missing one")
        regex = self._patterns.get("regex")
        if regex is not None and not regex.captures:
            self._problem("<regex> is plain text with an anchor and captures nothing; put what to keep in ( )")
        if self.parent is None and "parent" in self._offsets.values():
            self._problem('offset="after_parent" needs a <parent>')
        self._check_regex_offset(parents)
        for parent in parents:
            self._check_siblings([child for child in parent.children if child.name == self.name])

    def _check_regex_offset(self, parents: list[_Root]) -> None:
        offset = self._offsets.get("regex")
        if offset == "prematch" and self.parent is not None and "prematch" not in self._patterns:
            self._problem('offset="after_prematch" needs a <prematch>')
        earlier = parents and all(any(c.name == self.name for c in p.children) for p in parents)
        if offset == "regex" and not earlier:
            self._problem('offset="after_regex" needs an earlier decoder of the same name and parent')

    def _check_siblings(self, earlier: list["_Draft"]) -> None:
        if not earlier:
            return
        if "prematch" in self._patterns:
            self._problem("only the first of several decoders of one name may have a <prematch>")
        if "regex" not in self._patterns or any("regex" not in e._patterns for e in earlier):  # noqa: SLF001
            self._problem("each of several decoders of one name needs a <regex>")

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
            chained=chained,
            children=children,
        )


def unescaped(text: bytes, dialect: Dialect) -> bytes:
    r"""A pattern's text. `\<` is part of it in OSSEC's files; in ours it is how XML lets one write `<`."""
    return text.replace(b"\\<", b"<") if dialect == "hids" else text


assert set(_OFFSETS.values()) < set(get_args(Offset))  # noqa: S101 - one table names the other's words
