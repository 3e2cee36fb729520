"""Patterns with what the real libraries find, from the rule language's case file."""

from typing import Any

import pytest

from hids.core.pattern.pattern import Language, Pattern, PatternError


def result(language: Language, pattern: str, text: str) -> Any:
    try:
        found = Pattern(language, pattern.encode()).search(text.encode())
    except PatternError:
        return "error"
    if found is None:
        return None
    return {"continue": found.end, "captures": [(c or b"").decode() for c in found.captures]}


@pytest.mark.parametrize(("language", "engine"), [("os_regex", "ossec"), ("osregex", "wazuh")])
def test_a_pattern_finds_what_the_real_library_finds(design: Any, language: Language, engine: str) -> None:
    wrong = [
        (case["pattern"], case["text"], case[engine], result(language, case["pattern"], case["text"]))
        for case in design["regex"]
        if result(language, case["pattern"], case["text"]) != case[engine]
    ]
    assert wrong == []
    assert len(design["regex"]) == 800
