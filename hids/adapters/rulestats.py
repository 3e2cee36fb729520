"""Figures of rules on their way from the workers to whoever asks: a small file a worker, and the ledger's counts.

The files lie in the manager's run folder and are gone with it; a worker that starts anew begins at zero, as counters do.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from hids.adapters.paths import ManagerPaths
from hids.core.rules.profile import SAMPLE_EVERY, Figure, RulesetFigures
from hids.errors import StoreError
from hids.messages.rule_table import RuleTable

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Of one worker's file; 6,000 rules and decoders have 0.2 MB."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[RulesetFigures, ...])
_table_decoder = msgspec.msgpack.Decoder(RuleTable)

Name = TypeVar("Name", int, str)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class RulesetStats(msgspec.Struct):
    """Of one ruleset in use."""

    hash: str
    name: str
    sampled: int
    """Lines that were looked at, one in `sample_every`."""
    rules: dict[int, Figure]
    decoders: dict[str, Figure]
    fired: dict[int, int]
    """Rule -> events that it took, every one counted, since the manager's state exists. Level 0 is not counted."""
    suspended: dict[str, int]
    """Pattern that ran out of steps, with its rules and decoders in words -> times that a worker suspended it."""
    sample_every: int = SAMPLE_EVERY


def write_figures(folder: Path, number: int, figures: Sequence[RulesetFigures]) -> None:
    """Put a worker's figures into its file, whole; a disk that does not take them only costs the figures."""
    path = folder / str(number)
    draft = path.with_suffix(".new")
    try:
        draft.write_bytes(_encoder.encode(tuple(figures)))
        draft.replace(path)
    except OSError as error:
        log.warning("figures of rules are not written", path=str(path), reason=error.strerror)


def read_stats(paths: ManagerPaths) -> list[RulesetStats]:
    """The figures of all workers added up, by ruleset, newest versions only.

    Raises:
        StoreError: the ledger cannot be read.
    """
    found: dict[str, RulesetStats] = {}
    for file in sorted(paths.stats.glob("[0-9]*")) if paths.stats.is_dir() else ():
        for figures in _read(file):
            stats = found.setdefault(figures.hash, RulesetStats(figures.hash, figures.name, 0, {}, {}, {}, {}))
            stats.sampled += figures.sampled
            _add(stats.rules, figures.rules)
            _add(stats.decoders, figures.decoders)
            for text, times in figures.suspended.items():
                stats.suspended[text] = stats.suspended.get(text, 0) + times
    fired = _fired(paths.ledger) if found else {}
    for stats in found.values():
        stats.fired = _of_rules(paths.tables / f"{stats.hash}.msgpack", fired)
    return sorted(found.values(), key=lambda stats: stats.name)


def _read(file: Path) -> tuple[RulesetFigures, ...]:
    """What one worker wrote; nothing when it is just being replaced, or is not ours."""
    with suppress(OSError, msgspec.MsgspecError):
        if file.suffix == "" and file.stat().st_size <= MAX_FILE_BYTES:
            return _decoder.decode(file.read_bytes())
    return ()


def _add(total: dict[Name, Figure], more: dict[Name, Figure]) -> None:
    for name, figure in more.items():
        sum_ = total.setdefault(name, Figure())
        sum_.evaluated += figure.evaluated
        sum_.matched += figure.matched
        sum_.ns += figure.ns


def _fired(ledger: Path) -> dict[str, int]:
    """How often each rule fired, by its identity."""
    try:
        with closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
            return dict(db.execute("SELECT rule, count FROM fired"))
    except sqlite3.Error as error:
        raise StoreError(f"{ledger}: cannot be read: {error}; is this the manager's state?") from error


def _of_rules(table: Path, fired: dict[str, int]) -> dict[int, int]:
    with suppress(OSError, msgspec.MsgspecError):
        rows = _table_decoder.decode(table.read_bytes()).rules
        return {row.id: fired[row.identity] for row in rows if row.identity in fired}
    return {}
