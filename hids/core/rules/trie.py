"""Remembered walks: which questions were asked, what the answers were, and where that led.

A walk is a function of the answers it gets. What is known beforehand needs no asking; the rest, in the order
asked, is a path in a tree of questions, and its end is remembered. The next walk with the same knowledge
follows the tree and asks only those questions; where it leaves the known paths the walk is done in full, and
the tree grows by it. What is known must be the same for all walks of a tree, else they ask different questions.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

MAX_QUESTIONS = 128
"""Questions that one tree remembers; a walk beyond is done in full each time.

OSSEC's rules and 60,000 lines made no tree of more than 8.
"""

Asked = TypeVar("Asked")
Asked_contra = TypeVar("Asked_contra", contravariant=True)
End = TypeVar("End")


class Question(Protocol[Asked_contra]):
    """Something to ask of an event. Equal questions have equal answers."""

    def holds(self, event: Asked_contra, /) -> bool:
        """Work the answer out."""
        ...

    def __hash__(self) -> int: ...


class _Branch(Generic[Asked, End]):
    __slots__ = ("holds", "no", "question", "yes")

    def __init__(self, question: Question[Asked]) -> None:
        self.question = question
        self.holds: Callable[[Asked], bool] = question.holds
        self.no: _Branch[Asked, End] | _End[End] | None = None
        """None: a path not taken yet."""
        self.yes: _Branch[Asked, End] | _End[End] | None = None

    def following(self, *, answer: bool) -> "_Branch[Asked, End] | _End[End] | None":
        return self.yes if answer else self.no

    def put(self, node: "_Branch[Asked, End] | _End[End]", *, answer: bool) -> None:
        if answer:
            self.yes = node
        else:
            self.no = node


class _End(Generic[End]):
    __slots__ = ("value",)

    def __init__(self, value: End) -> None:
        self.value = value


class Trie(Generic[Asked, End]):
    """The remembered walks of one state of knowledge."""

    __slots__ = ("_root", "_size")

    def __init__(self) -> None:
        self._root: _Branch[Asked, End] | _End[End] | None = None
        self._size = 0

    def find(self, event: Asked) -> End | None:
        """The end of the walk for `event`, None when it leaves the known paths."""
        node = self._root
        while isinstance(node, _Branch):
            node = node.yes if node.holds(event) else node.no
        return None if node is None else node.value

    def grow(self, trail: "Trail[Asked]", end: End) -> End:
        """Remember a walk and where it ended."""
        self._size += len(trail.asked)
        if self._size > MAX_QUESTIONS:
            return end
        last: _Branch[Asked, End] | None = None
        side = False
        for question, answer in trail.asked:
            node = self._root if last is None else last.following(answer=side)
            if not isinstance(node, _Branch):
                node = _Branch[Asked, End](question)
                self._put(last, node, answer=side)
            elif node.question != question:
                raise AssertionError(f"two walks with one knowledge asked {node.question} and {question}")
            last, side = node, answer
        self._put(last, _End(end), answer=side)
        return end

    def _put(self, last: _Branch[Asked, End] | None, node: _Branch[Asked, End] | _End[End], *, answer: bool) -> None:
        if last is None:
            self._root = node
        else:
            last.put(node, answer=answer)


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
