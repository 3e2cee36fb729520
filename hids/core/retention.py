"""Retention: which of the files that were put away have to go, by age and by size, the oldest first."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Limit(msgspec.Struct, frozen=True):
    """How much is kept."""

    days: int = 0
    """Of a day longer ago than this nothing is; 0: no limit."""
    max_bytes: int = 0
    """0: no limit."""


def gone(files: Sequence[tuple[T, date, int]], others: int, limit: Limit, today: date) -> Iterator[tuple[T, str]]:
    """Files that have to go, and why, in words.

    Args:
        files: each with its day and its bytes, oldest first.
        others: bytes that count, too, and stay.
        limit: what is kept.
        today: as the files' days are counted.
    """
    oldest = today - timedelta(days=limit.days) if limit.days else date.min
    total = others + sum(size for _, _, size in files)
    for name, day, size in files:
        if day < oldest:
            yield name, f"older than {limit.days} days"
        elif limit.max_bytes and total > limit.max_bytes:
            yield name, f"more than {limit.max_bytes // 1024**2} MiB"
        else:
            return
        total -= size
