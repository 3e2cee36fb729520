"""OSSEC's own two pattern languages, rewritten as PCRE2 as OSSEC 4 does it.

`os_match`: alternatives of literal text, `^` and `$`. `os_regex`: a small regular expression language with
its own classes. Both ignore case and, where they become PCRE2, see the text as UTF-8.
"""

import re
from typing import NamedTuple

_PLAIN = re.compile(rb"\^?[A-Za-z0-9 !\"#%&',/:;<=>@_`~-]*\$?")
"""os_regex without any construct but anchors."""
_ANCHORED = re.compile(rb"\^[^^$|]*\$?|[^^$|]*\$")
"""One alternative of os_match with an anchor, none inside."""
_CLASSES: dict[bytes, bytes] = {
    b"d": b"[0-9]",
    b"D": b"[^0-9]",
    b"w": b"[A-Za-z0-9@_-]",
    b"W": b"[^A-Za-z0-9@_-]",
    b"s": b"[ ]",
    b"S": b"[^ ]",
    b"p": b"[!-.:-?\\[\\]{|}]",
    b".": b"(?s:.)",
    b"t": b"\\t",
}
_LITERAL_ESCAPES = b"$()\\|<{}[]"
_META = b".[]{}?*+()\\|^$"


class Rewritten(NamedTuple):
    """A pattern of OSSEC's as PCRE2."""

    pattern: bytes
    utf: bool
    """Compare letters as UTF-8 text; else only ASCII's."""
    captures: bool = True
    """False: a plain anchored text, of which a decoder can take nothing."""


def os_match(pattern: bytes) -> Rewritten:
    """Rewrite an os_match pattern. There is no escape and none is wrong."""
    body = b"".join(
        byte if byte in (b"|", b"^") else b"$" if byte == b"$" else _literal(byte) for byte in _each(pattern)
    )
    if _ANCHORED.fullmatch(pattern) and len(pattern) > 1:
        return Rewritten(body[:-1] + b"\\z" if body.endswith(b"$") else body, utf=False)
    return Rewritten(body, utf=True)


def os_regex(pattern: bytes) -> Rewritten:
    """Rewrite an os_regex pattern. Raises ValueError with what is wrong."""
    if not pattern:
        raise ValueError("an os_regex must not be empty")
    anchored = pattern[:1] == b"^" or pattern[-1:] == b"$"
    plain = _PLAIN.fullmatch(pattern) is not None and anchored and len(pattern) > 1
    tokens = _tokens(pattern)
    for index, token in enumerate(tokens):
        if token in (b"+?", b"*?") and _is_last(tokens, index):
            tokens[index] = token[:1]
    return Rewritten(b"".join(tokens), utf=not plain, captures=not plain)


def _tokens(pattern: bytes) -> list[bytes]:
    tokens: list[bytes] = []
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"\\":
            tokens.append(_escape(pattern, at))
            at += 1
        elif byte in b"+*":
            quantifies = at > 1 and pattern[at - 2 : at - 1] == b"\\"
            tokens.append(byte + b"?" if quantifies else b"\\" + byte)
        elif byte == b"$":
            tokens.append(b"\\z")
        elif byte in b"()|^":
            tokens.append(byte)
        else:
            tokens.append(_literal(byte))
        at += 1
    return tokens


def _escape(pattern: bytes, at: int) -> bytes:
    letter = pattern[at + 1 : at + 2]
    if letter and letter in _CLASSES:
        return _CLASSES[letter]
    if letter and letter in _LITERAL_ESCAPES:
        return _literal(letter)
    shown = (b"\\" + letter).decode("utf-8", "replace")
    raise ValueError(
        f"{shown} is no os_regex escape; known: \\d \\D \\w \\W \\s \\S \\p \\t \\. \\$ \\( \\) \\\\ \\| \\<"
    )


def _is_last(tokens: list[bytes], index: int) -> bool:
    """Nothing but closing parentheses stands before the next alternative or the end."""
    for token in tokens[index + 1 :]:
        if token == b"|":
            return True
        if token != b")":
            return False
    return True


def _literal(byte: bytes) -> bytes:
    return b"\\" + byte if byte in _META else byte


def _each(pattern: bytes) -> list[bytes]:
    return [pattern[i : i + 1] for i in range(len(pattern))]
