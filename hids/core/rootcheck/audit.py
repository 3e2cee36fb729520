r"""OSSEC's audit databases (system_audit, win_audit, win_applications, win_malware, cis_*): text to checks.

    $sshd=/etc/ssh/sshd_config,/usr/local/etc/sshd_config;
    [Root may log in over SSH] [any] [https://example.org/why]
    f:$sshd -> !r:^# && r:PermitRootLogin\.+yes;

A condition begins with what it looks at: `f:` files, `d:` what lies in directories, `p:` processes, `r:` the registry. Behind
`->` stands what must be in it (`d:` and `r:` may have two: the name of the entry, then what is in it). A term of an expression
is equal to a line, or with `r:` an os_regex, with `<:` and `>:` sorts before or after the text; `!` turns a term or a whole condition around, `&&` joins
terms, which must hold for the same line. An expression of negated terms only asks that no line has any of them.
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, cast

import msgspec

from hids.core.pattern.match import PatternError
from hids.core.rootcheck.matcher import MAX_PATTERN, os_regex
from hids.errors import Problem

MAX_DATABASE_BYTES = 4 * 1024 * 1024
"""The largest of OSSEC's own has 400 KiB."""
MAX_CHECKS = 20_000
MAX_TARGETS = 1_000
"""Paths that one condition may name."""
MAX_PROBLEMS = 100
"""Of one file; what follows is not listed."""

Kind = Literal["f", "d", "p", "r"]
How = Literal["any", "all", "none"]
"""How many of a check's conditions must hold."""

_ENTRY = re.compile(r"\[(?P<name>.*?)\]\s*\[(?P<how>any|all|none)(?P<required>\s+required)?\]\s*\[(?P<reference>.*)\]$")
_VARIABLE = re.compile(r"\$(?P<name>[^\s=]+)\s*=\s*(?P<value>.*)$")
_CONDITION = re.compile(r"(?P<kind>[fdpr])(?P<early>!?):(?P<negated>!?)(?P<rest>.*)$")


class Term(NamedTuple):
    """One question about a line."""

    negated: bool
    holds: Callable[[bytes], bool]


class Expression(NamedTuple):
    """Terms that must all hold for one text."""

    terms: tuple[Term, ...]

    @property
    def is_negative(self) -> bool:
        """Nothing but negated terms: it asks about all lines at once."""
        return all(term.negated for term in self.terms)

    def holds(self, text: bytes) -> bool:
        """Whether all terms hold for one text."""
        return all(term.holds(text) is not term.negated for term in self.terms)


class Condition(NamedTuple):
    """One line of a check."""

    kind: Kind
    negated: bool
    targets: tuple[str, ...]
    """Paths, keys; for processes the expression is `name`."""
    name: Expression | None = None
    """What the entry of a directory or the value of a key must be called; what the process must be."""
    content: Expression | None = None
    """What must be in the file or value."""


class Check(NamedTuple):
    """A thing that should not be so."""

    name: str
    how: How
    required: bool
    """Where it is not found, the rest of the file does not apply to this host."""
    reference: str
    conditions: tuple[Condition, ...]


class Database(msgspec.Struct, frozen=True):
    """One file."""

    path: str
    checks: tuple[Check, ...]
    problems: tuple[Problem, ...] = ()
    """What was not understood. Such a line of a check that any condition fulfils is left out: without it the check can only find
    less. Any other check with such a line is left out whole, for it would mean something else."""


class _Open(msgspec.Struct):
    """The check that is being read."""

    name: str
    how: How
    required: bool
    reference: str
    conditions: list[Condition] = []
    broken: bool = False


def parse(path: str, text: str) -> Database:
    """Read a database.

    Args:
        path: for complaints.
        text: of the file.
    """
    return _Parser(path).read(text)


class _Parser:
    def __init__(self, path: str) -> None:
        self._path = path
        self._checks: list[Check] = []
        self._problems: list[Problem] = []
        self._variables: dict[str, tuple[str, ...]] = {}
        self._open: _Open | None = None

    def read(self, text: str) -> Database:
        if len(text) > MAX_DATABASE_BYTES:
            problem = Problem(self._path, 0, f"larger than {MAX_DATABASE_BYTES} bytes; this is no audit database")
            return Database(self._path, (), (problem,))
        for number, line in enumerate(text.split("\n"), 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            try:
                self._line(stripped)
            except ValueError as error:
                self._complain(number, str(error))
            if len(self._checks) > MAX_CHECKS or len(self._problems) >= MAX_PROBLEMS:
                self._complain(number, "too much of it; what follows is not read")
                break
        self._close()
        return Database(self._path, tuple(self._checks), tuple(self._problems))

    def _line(self, line: str) -> None:
        if line.startswith("["):
            self._close()
            entry = _ENTRY.match(line)
            if entry is None:
                self._open = _Open("", "all", required=False, reference="", broken=True)  # takes what follows, and goes
                raise ValueError(f"expected [name] [any|all|none] [reference], got {_cut(line)}")
            self._open = _Open(
                entry["name"].strip(), cast("How", entry["how"]), bool(entry["required"]), entry["reference"].strip()
            )
        elif line.startswith("$"):
            self._variable(line)
        else:
            self._condition(line)

    def _variable(self, line: str) -> None:
        variable = _VARIABLE.match(line)
        if variable is None:
            raise ValueError(f"expected $name=value,value;, got {_cut(line)}")
        values = _listed(variable["value"].rstrip().removesuffix(";"))
        self._variables[variable["name"]] = tuple(
            each
            for value in values
            for each in (self._variables.get(value[1:], (value,)) if value[:1] == "$" else (value,))
        )

    def _condition(self, line: str) -> None:
        if self._open is None:
            raise ValueError(f"a condition before the first [name] [any] [reference]: {_cut(line)}")
        condition = _CONDITION.match(line)
        if condition is None:
            self._open.broken = True
            raise ValueError(f"expected f:, d:, p: or r: and a value that ends with ;, got {_cut(line)}")
        try:
            self._open.conditions.append(self._read(condition))
        except ValueError:
            self._open.broken = True
            raise

    def _read(self, condition: re.Match[str]) -> Condition:
        kind = cast("Kind", condition["kind"])
        negated = bool(condition["negated"] or condition["early"])
        rest = condition["rest"].rstrip().removesuffix(";")
        if kind == "p":
            return Condition(kind, negated, (), name=_expression(rest))
        target, *parts = (part.strip() for part in re.split(r"\s+->\s*", rest, maxsplit=2 if kind in "dr" else 1))
        targets = self._targets(target, kind)
        if not parts:
            return Condition(kind, negated, targets)
        if kind == "f":
            return Condition(kind, negated, targets, content=_expression(parts[0]))
        name = _expression(parts[0], default="r" if kind == "d" else "=")
        return Condition(kind, negated, targets, name, _expression(parts[1]) if len(parts) > 1 else None)

    def _targets(self, text: str, kind: Kind) -> tuple[str, ...]:
        if text.startswith("$"):
            if text[1:] not in self._variables:
                raise ValueError(f"{text} is not defined above; write {text}=/path,/other; first")
            return self._variables[text[1:]]
        targets = (text,) if kind == "r" else _listed(text)
        if not targets or not all(targets):
            raise ValueError("a condition without a path or key")
        return targets

    def _close(self) -> None:
        done, self._open = self._open, None
        if done is not None and done.conditions and not (done.broken and done.how != "any"):
            self._checks.append(Check(done.name, done.how, done.required, done.reference, tuple(done.conditions)))

    def _complain(self, number: int, text: str) -> None:
        self._problems.append(Problem(self._path, number, text))


def _listed(text: str) -> tuple[str, ...]:
    values = tuple(value.strip() for value in text.split(","))
    if len(values) > MAX_TARGETS:
        raise ValueError(f"at most {MAX_TARGETS} paths in a list, got {len(values)}")
    return values


def _expression(text: str, default: str = "=") -> Expression:
    return Expression(tuple(_terms(text, default)))


def _terms(text: str, default: str) -> Iterator[Term]:
    for part in text.split("&&"):
        term = part.strip()
        negated = term.startswith("!")
        term = term[1:] if negated else term
        operator = default
        for prefix in ("=:", "r:", "<:", ">:"):
            if term.startswith(prefix):
                operator, term = prefix[0], term[2:]
        yield Term(negated, _question(operator, term.encode("utf-8", "surrogateescape")))


def _question(operator: str, value: bytes) -> Callable[[bytes], bool]:
    if not value or len(value) > MAX_PATTERN:
        raise ValueError(f"expected 1 to {MAX_PATTERN} bytes to compare with, got {len(value)}")
    match operator:
        case "r":
            try:
                return os_regex(value).matches
            except PatternError as error:
                raise ValueError(f"{_cut(value.decode('utf-8', 'replace'))}: {error}") from error
        case "<":
            return lambda text: text < value
        case ">":
            return lambda text: text > value
        case _:
            lower = value.lower()
            return lambda text: text.lower() == lower


def _cut(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")  # noqa: PLR2004 - what fits a line of a terminal
