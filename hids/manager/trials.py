"""Test files of rules: what they say, and whether a ruleset keeps to it.

Three forms are read. Ours is TOML:

    [[case]]                      one line, and the rule that it gives when nothing came before it
    name = "an unknown user"
    line = 'Nov 24 03:21:42 web1 sshd[7]: Invalid user bob from 192.0.2.7'
    rule = 201210                 0: none above level 0
    fields = { srcip = '192.0.2.7' }        "": not there
    not = [201211]

    [[sequence]]                  a line sent `times` times, {n} counting from 1, then the lines of `then`
    name = "many failures"
    line = '...'
    times = 8
    every_s = 1
    rule = 201250                 what the last line gives; a composite must give it to no line before

OSSEC's and Wazuh's `.ini` files are read as they are: a section holds `log N pass` or `log N fail` keys and the
`decoder`, `rule` and `alert` that the last line of each gives, or in a `fail` case must not give all three of. Where a
key stands several times OSSEC takes the last one, Wazuh all of them as the lines of one case.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from hids.core.dialect import Dialect
from hids.core.rules.plan import Plan
from hids.errors import ConfigError
from hids.manager.logtest import Logtest
from hids.messages.lines import LogLine
from hids.messages.terms import Kind

START_MS = 1_795_521_600_000
"""When the first line of a test comes: Tuesday, 24 November 2026, 12:00 UTC."""
MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_LINES = 100_000
"""Lines of one case; more is a mistake in `times`."""


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"forbidden": "not"}):
    """`[[case]]`."""

    name: str
    line: str
    rule: int
    location: str = "stdin"
    kind: Kind = "log"
    fields: dict[str, str] = {}
    forbidden: list[int] = []


class Repeated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"forbidden": "not"}):
    """`[[sequence]]`."""

    name: str
    line: str
    times: int
    rule: int
    every_s: float = 1.0
    location: str = "stdin"
    kind: Kind = "log"
    then: list[str] = []
    wait_s: float = 0
    """Seconds that pass behind the last line; `rule` is then what did not come in time."""
    agents: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    """So many agents take turns in sending."""
    forbidden: list[int] = []


class _TomlFile(msgspec.Struct, forbid_unknown_fields=True):
    case: list[Case] = []
    sequence: list[Repeated] = []


class Triple(msgspec.Struct, frozen=True):
    """What an `.ini` case says of its last line; None: it gives none."""

    decoder: str | None
    rule: str | None
    level: str | None
    negated: bool
    """A `fail` case: not all three may hold."""


class Trial(msgspec.Struct, frozen=True):
    """One test, whatever form it was written in."""

    name: str
    lines: tuple[LogLine, ...]
    expect: Case | Repeated | Triple


class Failure(msgspec.Struct, frozen=True):
    """A test that did not go as written."""

    file: str
    name: str
    text: str
    """What was expected and what came."""

    def __str__(self) -> str:
        return f"{self.file}: {self.name}: {self.text}"


def read_trials(path: Path, dialect: Dialect) -> list[Trial]:
    """Read a test file.

    Raises:
        ConfigError: it cannot be read or is not of its form.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: a test file has at most {MAX_FILE_BYTES} bytes; split it")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if path.suffix == ".ini":
        return list(_ini_trials(path, data, dialect))
    if path.suffix == ".toml":
        return list(_toml_trials(path, data))
    raise ConfigError(f"{path}: expected a .toml or .ini file with tests")


class Trials:
    """Runs tests against a plan, each on a state of its own, and remembers which rules they reached."""

    def __init__(self, plan: Plan, host: str) -> None:
        self._plan = plan
        self._host = host
        self._composites = {row.id for row in plan.table.rules if row.window is not None}
        self.reached: set[int] = set()
        """Ids of rules that some line gave."""

    def run(self, trial: Trial) -> str | None:
        """Run one test; returns what is wrong, None when all is as written."""
        test = Logtest([self._plan], self._host)
        told = [test.test(line, *_sender(trial, n, self._host))[0] for n, line in enumerate(trial.lines)]
        self.reached.update(answer["rule"]["id"] for answer in told if answer["rule"] is not None)
        expect = trial.expect
        if isinstance(expect, Triple):
            return _wrong_triple(expect, told[-1], self._plan.ruleset.dialect)
        rules = [_speaking(answer["rule"]) for answer in told]
        if isinstance(expect, Repeated) and expect.wait_s:
            (missed,) = test.pass_time(trial.lines[-1].at_ms + round(expect.wait_s * 1000))
            self.reached.update(rule["id"] for rule in missed)
            rules.append(max(map(_speaking, missed), default=0))
        if rules[-1] != expect.rule:
            return f"expected rule {expect.rule}, got {rules[-1]}"
        if forbidden := set(rules) & set(expect.forbidden):
            return f"rule {min(forbidden)} must not be given, but is"
        if isinstance(expect, Case):
            return _wrong_fields(expect, told[-1]["fields"])
        if expect.rule in self._composites and expect.rule in rules[:-1]:
            return f"rule {expect.rule} comes early, at line {rules.index(expect.rule) + 1} of {len(rules)}"
        return None


def _sender(trial: Trial, number: int, host: str) -> tuple[str, str]:
    """Id and name of the agent that sends a line."""
    agents = trial.expect.agents if isinstance(trial.expect, Repeated) else 1
    place = number % agents
    return ("000", host) if agents == 1 else (f"{place + 1:03d}", f"{host}{place + 1}")


def _speaking(rule: dict[str, Any] | None) -> int:
    """Id of the rule that speaks: 0 for level 0 and what `ignore` silences."""
    return 0 if rule is None or rule["level"] == 0 or rule["silenced"] else rule["id"]


def _wrong_fields(expect: Case, fields: dict[str, str]) -> str | None:
    for name, value in expect.fields.items():
        if fields.get(name, "") != value:
            return f"expected {name} {value!r}, got {fields.get(name, '')!r}"
    return None


def _wrong_triple(expect: Triple, told: dict[str, Any], dialect: Dialect) -> str | None:
    rule = told["rule"]
    got = (told["decoder"], None if rule is None else str(rule["id"]), None if rule is None else str(rule["level"]))
    wanted = (expect.decoder, expect.rule, expect.level)
    same = wanted[1:] == got[1:] and _same_name(expect.decoder, told["decoder"], dialect)
    if dialect == "ossec" and told["decoder"] is None:
        same = False  # as in OSSEC's own runner: an event without decoder never agrees
    if same == expect.negated:
        kind = "anything but " if expect.negated else ""
        return f"expected {kind}decoder, rule and level {_shown(wanted)}, got {_shown(got)}"
    return None


def _same_name(expected: str | None, got: str | None, dialect: Dialect) -> bool:
    if expected is None or got is None or dialect != "ossec":
        return expected == got
    return expected.lower() == got.lower()


def _shown(values: Sequence[str | None]) -> str:
    return ", ".join("none" if value is None else value for value in values)


# ---- TOML -------------------------------------------------------------------------------------------------------


def _toml_trials(path: Path, data: bytes) -> Iterator[Trial]:
    try:
        found = msgspec.toml.decode(data, type=_TomlFile)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for case in found.case:
        yield Trial(case.name, (_line(case, case.line, 0),), case)
    for sequence in found.sequence:
        if not 0 <= sequence.times <= MAX_LINES or sequence.every_s < 0:
            raise ConfigError(f"{path}: {sequence.name}: times must be 0 to {MAX_LINES}, and every_s not negative")
        texts = [*(sequence.line.replace("{n}", str(n)) for n in range(1, sequence.times + 1)), *sequence.then]
        if not texts:
            raise ConfigError(f"{path}: {sequence.name}: has no line")
        at = (round(number * sequence.every_s * 1000) for number in range(len(texts)))
        yield Trial(sequence.name, tuple(map(_line, [sequence] * len(texts), texts, at)), sequence)


def _line(test: Case | Repeated, text: str, after_ms: int) -> LogLine:
    at_ms = START_MS + after_ms
    return LogLine(test.location, text.encode("utf-8", "surrogateescape"), at_ms, at_ms, test.kind)


# ---- ini --------------------------------------------------------------------------------------------------------

_SECTION = re.compile(r"\[(.*)\]\s*$")
_KEY = re.compile(r"([^\s=:][^=:]*?)\s*[=:]\s*(.*)$")
_LOG = re.compile(r"log\b.*\b(pass|fail)\b", re.IGNORECASE)


class _Section:
    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, list[str]] = {}
        """Key -> the values that it was given, in order."""

    def text(self, key: str) -> str | None:
        """The last value; None where it is empty or missing."""
        return (self.values.get(key) or [""])[-1] or None


def _ini_trials(path: Path, data: bytes, dialect: Dialect) -> Iterator[Trial]:
    for section in _sections(path, data.decode("utf-8", "surrogateescape")):
        for key, values in section.values.items():
            kind = _LOG.match(key)
            if kind is None:
                continue
            texts = _texts(values if dialect == "wazuh" else values[-1:], dialect)
            if not texts:
                raise ConfigError(f"{path}: [{section.name}] {key}: has no log")
            triple = Triple(
                decoder=section.text("decoder"),
                rule=section.text("rule"),
                level=section.text("alert"),
                negated=kind[1].lower() == "fail",
            )
            lines = tuple(LogLine("stdin", t.encode("utf-8", "surrogateescape"), START_MS, START_MS) for t in texts)
            yield Trial(f"{section.name} / {key}", lines, triple)


def _texts(values: Sequence[str], dialect: Dialect) -> list[str]:
    """The logs of a key. OSSEC's files double a percent sign that starts a log."""
    texts = [line for value in values for line in value.split("\n") if line]
    if dialect == "ossec":
        texts = [text[1:] if text.startswith("%%") else text for text in texts]
    return texts


def _sections(path: Path, text: str) -> Iterator[_Section]:
    section: _Section | None = None
    values: list[str] | None = None
    for number, row in enumerate(text.split("\n"), 1):
        stripped = row.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if heading := _SECTION.match(row):
            if section is not None:
                yield section
            section, values = _Section(heading[1]), None
        elif row[0].isspace() and values is not None:
            values[-1] += "\n" + stripped
        elif section is not None and (pair := _KEY.match(row)):
            values = section.values.setdefault(pair[1].lower() if pair[1].lower() in _FACTS else pair[1], [])
            values.append(pair[2].strip())
        else:
            raise ConfigError(f"{path}:{number}: expected [section] or key = value, got {stripped[:80]!r}")
    if section is not None:
        yield section


_FACTS = ("decoder", "rule", "alert")
