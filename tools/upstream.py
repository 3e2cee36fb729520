"""Upstream's rulesets as the conformance data holds them: which files, in which order, is what a load.json says."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from hids.core.rules.rule import SourceFile

SETS = ("testing", "rules", "production")
"""Names of file lists in a load.json; the first one that it has is what upstream's tests ran with."""


class LoadError(Exception):
    """A load.json cannot be followed; the text says why."""


class Load(NamedTuple):
    """One ruleset's files in load order."""

    suite: str
    """Which engine's: also the dialect."""
    files: tuple[SourceFile, ...]
    lists: dict[str, bytes]
    """Text of each list, by the name that rules use."""
    alert_level: int
    """Rules of a lower level make no alert."""


def read_load(path: Path, which: str | None = None) -> Load:
    """Read the files that a load.json names.

    Args:
        path: the load.json; file names in it are relative to its folder.
        which: the list to take; None: the one of upstream's tests.

    Raises:
        LoadError: no such file or list.
    """
    try:
        order: dict[str, Any] = json.loads(path.read_text())
        chosen = which or next((name for name in SETS if name in order), "")
        if chosen not in order:
            raise LoadError(f"{path}: has no list {chosen!r}; --set may be one of: {', '.join(_sets(order))}")
        inner = order[chosen]
        decoders, rules, lists = (
            (inner["decoders"], inner["rules"], inner["lists"])
            if isinstance(inner, dict)
            else (order["decoders"], inner, order["lists"])
        )
        named = dict(lists)
        return Load(
            suite=order["suite"],
            files=tuple(SourceFile(name, (path.parent / name).read_bytes()) for name in (*decoders, *rules)),
            lists={name: (path.parent / file).read_bytes() for name, file in named.items()},
            alert_level=order["log_alert_level"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise LoadError(f"{path}: cannot be read as a load.json: {type(error).__name__}: {error}") from error


def _sets(order: dict[str, Any]) -> list[str]:
    return [name for name in (*SETS, *sorted(k for k in order if k.startswith("rules_"))) if name in order]
