"""Archive: alerts that the outbox no longer has, read back from the alert files to fill an index anew."""

import gzip
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, cast

from hids.adapters.outbox import Outbox, OutboxRow, alert_number
from hids.adapters.rotated import PACKED, Rotated, rotated

_ROW_LINES = 1000
_MAX_LINE_BYTES = 8 * 1024 * 1024
"""A longer line is no alert of ours; it is passed over piece by piece."""


def rows_after(outbox: Outbox, alerts_json: Path, after: int, newest: int) -> Iterator[list[OutboxRow]]:
    """All that is committed above `after`, up to `newest` at least, in order and in pieces of bounded size.

    What is gone from the outbox comes from `alerts_json` and what was put away of it, as far as they reach; what
    neither has is left out.
    """
    rows = outbox.read(after)
    first = rows[0].first if rows else newest + 1
    if first > after + 1:
        for row in _archived(alerts_json, after, first):
            yield [row]
        after = first - 1
    while rows:
        yield rows
        after = rows[-1].last
        rows = outbox.read(after)


def _archived(alerts_json: Path, after: int, before: int) -> Iterator[OutboxRow]:
    """The file's alerts with `after < number < before`, as rows, without those whose number does not grow."""
    lines: list[bytes] = []
    last = after
    for number, line in _numbered(alerts_json):
        if not last < number < before:
            continue
        if lines and (number != last + 1 or len(lines) == _ROW_LINES):
            yield _row(lines, last)
            lines = []
        lines.append(line)
        last = number
    if lines:
        yield _row(lines, last)


def _row(lines: list[bytes], last: int) -> OutboxRow:
    return OutboxRow(first=last - len(lines) + 1, count=len(lines), lines=b"".join(lines))


def _numbered(alerts_json: Path) -> Iterator[tuple[int, bytes]]:
    for line in lines_of(alerts_json):
        if (number := alert_number(line)) is not None:
            yield number, line


def lines_of(path: Path) -> Iterator[bytes]:
    """All whole lines of a file that is put away by days, oldest first, with their newlines.

    The writer may put the file away meanwhile: it is opened first, so that its lines come once in any case.
    """
    with ExitStack() as opened:
        current = None
        with suppress(FileNotFoundError):
            current = opened.enter_context(path.open("rb"))
        inode = _inode(current)
        for old in sorted(rotated(path), key=_first_number):  # by their days they are not, where the clock was wrong
            file = open_rotated(old)
            if file is not None and _inode(file) != inode:
                with file:
                    yield from _whole(file)
        if current is not None:
            yield from _whole(current)


def open_rotated(old: Rotated) -> BinaryIO | None:
    """A file that was put away, unpacked as it is read; None when it is gone."""
    for path in (old.path, old.packed, old.path):  # it may be compressed between two looks
        with suppress(FileNotFoundError):
            return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == PACKED else path.open("rb")
    return None


def _first_number(old: Rotated) -> int:
    """Number of a file's first alert; 0 for none."""
    file = open_rotated(old)
    if file is None:
        return 0
    with file:
        return alert_number(file.readline(_MAX_LINE_BYTES)) or 0


def _inode(file: BinaryIO | None) -> int:
    """Which file it is; 0 for none."""
    return os.fstat(file.fileno()).st_ino if file is not None else 0


def _whole(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_MAX_LINE_BYTES):
        if line.endswith(b"\n"):
            yield line
