r"""The XML of rule and decoder files, which is not quite XML.

The reader is ours because the files that exist are not well-formed: several roots in one file, `\<` for a
`<` in text, no entities at all, comments from any `<!` to `!>` or `-->`. It keeps the line of everything, so
that a message can point at it. What is wrong is added to `problems`; a file whose structure is broken gives
what stood before the break.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

import msgspec

from hids.errors import Problem

MAX_FILE_BYTES = 8 * 1024 * 1024
"""The largest rule file of OSSEC and Wazuh has 0.4 MB."""
MAX_DEPTH = 16
"""Real files nest four deep (group, rule, mitre, id)."""
MAX_TEXT_BYTES = 20_480
"""Text of one element; Wazuh's limit, the larger of the two."""

_COMMENT_END = re.compile(rb"!>|-->")
_OPEN = re.compile(rb"<([A-Za-z_][\w.:-]*)")
_CLOSE = re.compile(rb"</\s*([A-Za-z_][\w.:-]*)\s*>")
_ATTRIBUTE = re.compile(rb"\s+([A-Za-z_][\w.:-]*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_TAG_END = re.compile(rb"\s*(/?)>")
_TAG_START = re.compile(rb"(?<!\\)<")
_WAZUH_TAG_START = re.compile(rb"(?<!\\)(?:\\\\)*<")
"""An even number of backslashes escapes itself and not the tag."""


class Attribute(msgspec.Struct, frozen=True):
    """`name="value"` of an element."""

    name: str
    """In lower case: names ignore case."""
    value: str
    line: int


class Element(msgspec.Struct, frozen=True):
    """One element with its place in the file."""

    file: str
    line: int
    name: str
    """In lower case."""
    attributes: tuple[Attribute, ...]
    text: bytes
    r"""Without comments; `\<` as written. Of an element with children: what stands after the last one."""
    children: tuple["Element", ...]

    def get(self, name: str) -> str | None:
        """Value of an attribute, None when it is not there."""
        return next((a.value for a in self.attributes if a.name == name), None)

    def problem(self, text: str) -> Problem:
        """Say something about this element."""
        return Problem(self.file, self.line, text)


class _Broken(Exception):  # noqa: N818 - ends the reading of one file
    def __init__(self, at: int, text: str) -> None:
        super().__init__(text)
        self.at = at
        self.text = text


class _Open:
    """An element whose end tag has not come yet."""

    def __init__(self, name: str, line: int, attributes: tuple[Attribute, ...]) -> None:
        self.name = name
        self.line = line
        self.attributes = attributes
        self.pieces: list[bytes] = []
        self.children: list[Element] = []


def read(file: str, text: bytes, problems: list[Problem], *, strict: bool, pairs: bool = False) -> tuple[Element, ...]:
    r"""All top-level elements of a file, in order.

    Unless `strict`, text between elements is dropped: OSSEC's files have comments that end too early. With `pairs`
    `\\<` is two backslashes and a tag, as Wazuh reads it.
    """
    if len(text) > MAX_FILE_BYTES:
        problems.append(
            Problem(file, 0, f"a rule file may have {MAX_FILE_BYTES} bytes, this one has {len(text)}; split it")
        )
        return ()
    reader = _Reader(file, text, problems, strict=strict, pairs=pairs)
    try:
        reader.run()
    except _Broken as broken:
        problems.append(Problem(file, reader.line_at(broken.at), broken.text))
    return tuple(reader.top.children)


class _Reader:
    def __init__(self, file: str, text: bytes, problems: list[Problem], *, strict: bool, pairs: bool) -> None:
        self._strict = strict
        self._tag_start = _WAZUH_TAG_START if pairs else _TAG_START
        self._file = file
        self._text = text
        self._problems = problems
        self._newlines = [m.start() for m in re.finditer(rb"\n", text)]
        self.top = _Open("", 0, ())
        self._open = [self.top]

    def line_at(self, at: int) -> int:
        return bisect_right(self._newlines, at - 1) + 1

    def run(self) -> None:
        at = 0
        while tag := self._tag_start.search(self._text, at):
            start = tag.end() - 1
            self._add_text(at, start)
            at = self._tag(start)
        self._add_text(at, len(self._text))
        if len(self._open) > 1:
            left = self._open[-1]
            raise _Broken(len(self._text), f"<{left.name}> of line {left.line} is never closed; add </{left.name}>")

    def _tag(self, at: int) -> int:
        following = self._text[at + 1 : at + 2]
        if following == b"!":
            end = _COMMENT_END.search(self._text, at + 2)
            if end is None:
                raise _Broken(at, "a comment is never closed; end it with -->")
            return end.end()
        return self._end_tag(at) if following == b"/" else self._start_tag(at)

    def _add_text(self, start: int, end: int) -> None:
        if start == end:
            return
        piece = self._text[start:end]
        if self._strict and len(self._open) == 1 and piece.strip():
            raise _Broken(
                start + len(piece) - len(piece.lstrip()),
                f"text outside of any element: {_shown(piece)}; in texts write < as \\<",
            )
        self._open[-1].pieces.append(piece)

    def _start_tag(self, at: int) -> int:
        match = _OPEN.match(self._text, at)
        if match is None:
            raise _Broken(
                at,
                f"expected an element name, got {_shown(self._text[at : at + 20])}; in texts write < as \\<",
            )
        name = match.group(1).decode().lower()
        if len(self._open) > MAX_DEPTH:
            raise _Broken(at, f"<{name}> is nested deeper than {MAX_DEPTH}; is an end tag missing?")
        attributes, position = self._attributes(match.end())
        end = _TAG_END.match(self._text, position)
        if end is None:
            raise _Broken(
                position,
                f'in <{name}>: expected name="value" or >, got {_shown(self._text[position:])}',
            )
        self._check_beside(self._open[-1], at)
        self._open.append(_Open(name, self.line_at(at), attributes))
        if end.group(1):
            self._close(at)
        return end.end()

    def _attributes(self, position: int) -> tuple[tuple[Attribute, ...], int]:
        found: dict[str, Attribute] = {}
        while match := _ATTRIBUTE.match(self._text, position):
            name = match.group(1).decode().lower()
            line = self.line_at(match.start(1))
            if name in found:
                self._problems.append(Problem(self._file, line, f"attribute {name} is given twice; keep one"))
            value = match.group(2) if match.group(2) is not None else match.group(3)
            found[name] = Attribute(name, value.decode("utf-8", "replace"), line)
            position = match.end()
        return tuple(found.values()), position

    def _end_tag(self, at: int) -> int:
        match = _CLOSE.match(self._text, at)
        if match is None:
            raise _Broken(at, f"expected an end tag, got {_shown(self._text[at : at + 20])}")
        name = match.group(1).decode().lower()
        last = self._open[-1]
        if name != last.name:
            wanted = f"</{last.name}> for line {last.line}" if last.name else "no end tag, as nothing is open"
            raise _Broken(at, f"expected {wanted}, got </{name}>")
        self._close(at)
        return match.end()

    def _check_beside(self, element: _Open, at: int) -> None:
        """Text beside elements is dropped; whoever wrote it meant something by it."""
        text = b"".join(element.pieces).strip()
        if self._strict and text:
            self._problems.append(
                Problem(self._file, self.line_at(at), f"text beside the elements of <{element.name}>: {_shown(text)}")
            )

    def _close(self, at: int) -> None:
        done = self._open.pop()
        if done.children:
            self._check_beside(done, at)
        text = b"".join(done.pieces)
        if len(text) > MAX_TEXT_BYTES:
            self._problems.append(
                Problem(
                    self._file,
                    done.line,
                    f"the text of <{done.name}> may have {MAX_TEXT_BYTES} bytes, it has {len(text)}",
                )
            )
            text = b""
        children = tuple(done.children)
        parent = self._open[-1]
        parent.children.append(Element(self._file, done.line, done.name, done.attributes, text, children))
        parent.pieces.clear()


def _shown(text: bytes) -> str:
    return repr(text[:40].strip()[:20].decode("utf-8", "replace"))


# ---- variables -------------------------------------------------------------------------------------------

OSSEC_VARIABLE = re.compile(rb"\$([^$.|, ]+)")
"""A name goes on to `$ . | ,`, a space or the end."""
WAZUH_VARIABLE = re.compile(rb"\$(?!\()([^$.|, ]+)")
"""The same, but `$(` starts the name of a field in a description."""
VARIABLE = re.compile(rb"\$([A-Za-z_]\w*)")
"""Ours: an identifier, so that `$)` in a pattern stays what it is."""


def expand(elements: Iterable[Element], name: re.Pattern[bytes], problems: list[Problem]) -> Iterator[Element]:
    """The elements without `<var name="X">value</var>`, and with every later `$X` replaced.

    Without any `<var>` in front of it a text keeps its dollars, so patterns need no escape in files that use
    none.
    """
    values: dict[bytes, bytes] = {}
    for element in elements:
        if element.name != "var":
            yield _expanded(element, values, name, problems) if values else element
        elif key := element.get("name"):
            values[key.encode()] = element.text
        else:
            problems.append(element.problem('expected <var name="X">value</var>, got no name'))


def _expanded(
    element: Element, values: dict[bytes, bytes], name: re.Pattern[bytes], problems: list[Problem]
) -> Element:
    def replace(text: bytes) -> bytes:
        if len(text) <= 2:  # noqa: PLR2004 - such short texts are left alone upstream
            return text
        return name.sub(value, text)

    def value(match: re.Match[bytes]) -> bytes:
        known = values.get(match.group(1))
        if known is None:
            shown = match.group(0).decode("utf-8", "replace")
            problems.append(element.problem(f"{shown} is not defined; add <var> before it or drop the $"))
            return b""
        return known

    return Element(
        element.file,
        element.line,
        element.name,
        tuple(
            Attribute(a.name, replace(a.value.encode()).decode("utf-8", "replace"), a.line) for a in element.attributes
        ),
        replace(element.text),
        tuple(_expanded(child, values, name, problems) for child in element.children),
    )
