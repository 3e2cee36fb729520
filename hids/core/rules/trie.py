"""Remembered walks: which questions were asked, what the answers were, and where that led.

A walk is a function of the answers it gets. What is known beforehand needs no asking; the rest, in the order asked,
is a path in a tree of questions, and its end is remembered. The next walk with the same knowledge follows the tree
and asks only those questions; where it leaves the known paths the walk is done in full, and the tree grows by it.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

MAX_QUESTIONS = 1_024
"""Questions that one tree remembers; a walk beyond is done in full each time."""

Asked = TypeVar("Asked")
Asked_contra = TypeVar("Asked_contra", contravariant=True)
End = TypeVar("End")


class Question(Protocol[Asked_contra]):
    """Something to ask of an event. Equal questions have equal answers."""

    def holds(self, event: Asked_contra, /) -> bool:
        """Work the answer out."""
        ...

    def __hash__(self) -> int: ...


class _Branch(Generic[Asked]):
    __slots__ = ("ends", "holds", "question")

    def __init__(self, question: Question[Asked]) -> None:
        self.question = question
        self.holds: Callable[[Asked], bool] = question.holds
        self.ends: list[object] = [None, None]
        """What follows a no and a yes: a branch, an end, or None for a path not taken yet."""


class Trie(Generic[Asked, End]):
    """The remembered walks of one state of knowledge. An end is never None and no branch."""

    __slots__ = ("_size", "root")

    def __init__(self) -> None:
        self.root: object = None
        self._size = 0

    def find(self, event: Asked) -> End | None:
        """The end of the walk for `event`, None when it leaves the known paths."""
        node = self.root
        while node.__class__ is _Branch:
            node = node.ends[node.holds(event)]  # type: ignore[attr-defined]  # pyright: ignore
        return node  # type: ignore[return-value]  # pyright: ignore

    def grow(self, trail: "Trail[Asked]", end: End) -> End:
        """Remember a walk."""
        if self._size + len(trail.asked) > MAX_QUESTIONS:
            return end
        node: object = None
        side = False
        for question, answer in trail.asked:
            following = self._next(node, side)
            if not isinstance(following, _Branch):
                following = _Branch[Asked](question)
                self._put(node, following, side=side)
                self._size += 1
            node, side = following, answer
        self._put(node, end, side=side)
        return end

    def _next(self, node: object, side: bool) -> object:  # noqa: FBT001 - an answer is data
        return node.ends[side] if isinstance(node, _Branch) else self.root

    def _put(self, node: object, following: object, *, side: bool) -> None:
        if isinstance(node, _Branch):
            node.ends[side] = following
        else:
            self.root = following


class Trail(Generic[Asked]):
    """Answers the questions of one walk and notes those that had to be worked out."""

    def __init__(self, known: Callable[[Question[Asked]], bool | None], event: Asked) -> None:
        """`known` gives the answer that follows from what is known beforehand, None when none does."""
        self._known = known
        self._event = event
        self._answers: dict[Question[Asked], bool] = {}
        self.asked: list[tuple[Question[Asked], bool]] = []

    def ask(self, question: Question[Asked]) -> bool:
        """Answer; each question is worked out at most once."""
        answer = self._known(question)
        if answer is None:
            answer = self._answers.get(question)
        if answer is None:
            answer = question.holds(self._event)
            self._answers[question] = answer
            self.asked.append((question, answer))
        return answer
