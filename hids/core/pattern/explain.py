"""Says of a pattern how it is understood: what it is rewritten to, who runs it, what a scan can tell of it."""

from typing import Any

from hids.core.pattern import ossec, wazuh
from hids.core.pattern.pattern import Pattern


def explain(pattern: Pattern) -> dict[str, Any]:
    """Everything about a pattern that does not depend on a text."""
    return {
        "language": pattern.key[0],
        "pattern": _shown(pattern.key[1]),
        "rewritten": None if (rewritten := _rewritten(pattern)) is None else _shown(rewritten),
        "engine": pattern.engine,
        "scan": None if pattern.scan is None else _shown(pattern.scan),
        "scan_is_exact": pattern.scan_is_exact,
        "scan_of_part": None if pattern.loose is None else _shown(pattern.loose),
    }


def tried(pattern: Pattern, text: bytes) -> dict[str, Any]:
    """What the pattern makes of one text; `end` is the offset at which a decoder would go on."""
    found = pattern.search(text)
    captures = () if found is None else found.captures
    return {
        "text": _shown(text),
        "matches": found is not None or bool(pattern.matches(text)),
        "captures": [None if value is None else _shown(value) for value in captures],
        "end": None if found is None else found.end,
    }


def _rewritten(pattern: Pattern) -> bytes | None:
    """The pattern as PCRE2, as upstream or we write it; None for one that is PCRE2, or has no such form."""
    language, text = pattern.key
    match language:
        case "os_match":
            return ossec.os_match(text).pattern
        case "os_regex":
            return ossec.os_regex(text).pattern
        case "osmatch":
            return wazuh.os_match(text).pcre
        case "osregex":
            return wazuh.os_regex(text).pcre
        case _:
            return None


def _shown(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
