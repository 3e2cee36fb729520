"""What an audit database finds on a host, as a function of what the host shows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from hids.core.rootcheck.audit import Check, Condition, Database, Expression


class Process(NamedTuple):
    """One running program."""

    name: bytes
    path: bytes
    """Empty when it cannot be seen."""
    command: bytes
    """All its words, with spaces."""


class Views(Protocol):
    """What can be looked at. No method raises for what is not there or may not be read."""

    def paths(self, target: str) -> Iterable[str]:
        """The paths that a target names, there or not; one, unless it is a pattern."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of that name."""
        ...

    def lines(self, path: str) -> Iterable[bytes] | None:
        """Lines of a file without their ends; None where there is none that can be read."""
        ...

    def entries(self, path: str) -> Iterable[tuple[bytes, str]]:
        """Name and path of all that lies below a folder."""
        ...

    def processes(self) -> Sequence[Process]:
        """What runs."""
        ...

    def values(self, key: str) -> Mapping[str, str] | None:
        """Names and values of a registry key; None where it is not there, or there is no registry."""
        ...

    @property
    def has_registry(self) -> bool:
        """Conditions on a registry can be answered."""
        ...


class Found(NamedTuple):
    """A check that holds."""

    check: Check
    file: str
    """The first path that shows it; empty where none does."""


def judge(database: Database, views: Views) -> Iterator[Found | None]:
    """Go through a database; None after each check that does not hold, so that the caller may rest."""
    for check in database.checks:
        found = _found(check, views)
        if found is None:
            yield None
            if check.required:
                return
        else:
            yield Found(check, found)


def words(title: str, found: Found) -> str:
    """What is told of it, in the form that OSSEC's users know; `title`: "System Audit", "Windows Malware" ..."""
    file = f" File: {found.file}." if found.file else ""
    reference = f" Reference: {found.check.reference} ." if found.check.reference else ""
    return f"{title}: {found.check.name}.{file}{reference}"


def _found(check: Check, views: Views) -> str | None:
    """The path that shows that a check holds, "" for none; None: it does not hold."""
    first = ""
    for condition in check.conditions:
        if condition.kind == "r" and not views.has_registry:
            holds, path = False, ""
            if check.how != "any":
                return None  # it cannot be decided
        else:
            seen = _seen(condition, views)
            holds, path = (seen is not None) is not condition.negated, seen or ""
        if not path and holds and condition.targets and condition.kind != "r":
            path = condition.targets[0]
        first = first or (path if holds else "")
        if holds and check.how == "any":
            return first
        if check.how != "any" and holds is (check.how == "none"):
            return None
    return None if check.how == "any" else first


def _seen(condition: Condition, views: Views) -> str | None:
    """What fulfils a condition before it is turned around: a path, "" for what has none; None: nothing does."""
    if condition.kind == "p":
        assert condition.name is not None  # noqa: S101 - the parser sees to it
        return "" if any(_is(condition.name, process) for process in views.processes()) else None
    if condition.kind == "r":
        return "" if any(_registry(condition, key, views) for key in condition.targets) else None
    look = _in_file if condition.kind == "f" else _in_folder
    for target in condition.targets:
        for path in views.paths(target):
            if (seen := look(condition, path, views)) is not None:
                return seen
    return None


def _is(name: Expression, process: Process) -> bool:
    """By its name, its path, the last part of it, or all its words."""
    shown = {process.name, process.path, process.path.rpartition(b"/")[2], process.command} - {b""}
    if name.is_negative:
        return all(map(name.holds, shown))
    return any(map(name.holds, shown))


def _in_file(condition: Condition, path: str, views: Views) -> str | None:
    if condition.content is None:
        return path if views.exists(path) else None
    return path if _content_holds(condition.content, path, views) else None


def _content_holds(content: Expression, path: str, views: Views) -> bool:
    lines = views.lines(path)
    if lines is None:
        return False
    if content.is_negative:
        return all(map(content.holds, lines))
    return any(map(content.holds, lines))


def _in_folder(condition: Condition, path: str, views: Views) -> str | None:
    if condition.name is None:
        return path if views.exists(path) else None
    for name, inside in views.entries(path):
        if condition.name.holds(name) and (
            condition.content is None or _content_holds(condition.content, inside, views)
        ):
            return inside
    return None


def _registry(condition: Condition, key: str, views: Views) -> bool:
    values = views.values(key)
    if values is None:
        return False
    if condition.name is None:
        return True
    named = [value for name, value in values.items() if condition.name.holds(name.encode("utf-8", "replace"))]
    if condition.name.is_negative:
        return len(named) == len(values)  # no value has the name
    if condition.content is None:
        return bool(named)
    return any(condition.content.holds(value.encode("utf-8", "replace")) for value in named)
