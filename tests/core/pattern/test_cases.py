"""Patterns with what OSSEC's own library finds, from the rule language's case file."""

from typing import Any

from hids.core.pattern.pattern import Pattern, PatternError


def result(pattern: str, text: str) -> Any:
    try:
        found = Pattern("os_regex", pattern.encode()).search(text.encode())
    except PatternError:
        return "error"
    if found is None:
        return None
    return {"continue": found.end, "captures": [(c or b"").decode() for c in found.captures]}


def test_os_regex_finds_what_ossec_finds(design: Any) -> None:
    wrong = [
        (case["pattern"], case["text"], case["ossec"], result(case["pattern"], case["text"]))
        for case in design["regex"]
        if result(case["pattern"], case["text"]) != case["ossec"]
    ]
    assert wrong == []
    assert len(design["regex"]) == 800
