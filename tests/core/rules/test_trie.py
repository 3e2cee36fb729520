from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.rules import trie
from hids.core.rules.trie import Question, Trail, Trie


class Has(NamedTuple):
    letter: str

    def holds(self, event: str) -> bool:
        return self.letter in event


def unknown(_question: Question[str]) -> bool | None:
    return None


def walk(trail: Trail[str]) -> str:
    """Some function of answers."""
    if trail.ask(Has("a")):
        return "ab" if trail.ask(Has("b")) else "a"
    if trail.ask(Has("c")) and trail.ask(Has("b")) and trail.ask(Has("b")):
        return "cb"
    return "none"


def test_an_unknown_path_is_not_found_and_then_it_is() -> None:
    tree = Trie[str, str]()
    assert tree.find("ab") is None
    trail = Trail(unknown, "ab")
    assert tree.grow(trail, walk(trail)) == "ab"
    assert tree.find("xbxa") == "ab"
    assert tree.find("a") is None
    assert tree.find("c") is None


@given(st.lists(st.text(alphabet="abcd", max_size=4), max_size=30))
def test_what_is_found_is_what_the_walk_would_say(events: list[str]) -> None:
    tree = Trie[str, str]()
    for event in events:
        trail = Trail(unknown, event)
        expected = walk(trail)
        found = tree.find(event)
        assert found in (None, expected)
        if found is None:
            tree.grow(trail, expected)
        assert tree.find(event) == expected


def test_what_is_known_is_not_asked() -> None:
    trail = Trail(lambda question: True if question == Has("a") else None, "b")
    assert walk(trail) == "ab"
    assert trail.asked == [(Has("b"), True)]


def test_a_question_is_worked_out_once() -> None:
    trail = Trail(unknown, "cb")
    assert walk(trail) == "cb"
    assert trail.asked == [(Has("a"), False), (Has("c"), True), (Has("b"), True)]


def test_a_walk_without_questions_is_one_step() -> None:
    tree = Trie[str, str]()
    tree.grow(Trail(lambda _question: False, ""), "end")
    assert tree.find("anything") == "end"


def test_walks_that_know_different_things_do_not_share_a_tree() -> None:
    tree = Trie[str, str]()
    for question in (Has("a"), Has("b")):
        trail = Trail(unknown, "x")
        trail.ask(question)
        if question == Has("b"):
            with pytest.raises(AssertionError, match="two walks with one knowledge"):
                tree.grow(trail, "end")
        else:
            tree.grow(trail, "end")


def test_a_tree_is_bounded() -> None:
    tree = Trie[str, str]()
    for number in range(trie.MAX_QUESTIONS + 10):
        trail = Trail(unknown, "a")
        trail.ask(Has("b"))
        tree.grow(trail, str(number))
    assert tree.find("a") == str(trie.MAX_QUESTIONS - 1)
