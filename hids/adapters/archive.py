"""Archive: alerts that the outbox no longer has, read back from the alert file to fill an index anew."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hids.adapters.outbox import Outbox, OutboxRow, alert_number

_ROW_LINES = 1000
_MAX_LINE_BYTES = 8 * 1024 * 1024
"""A longer line is no alert of ours; it is passed over piece by piece."""


def rows_after(outbox: Outbox, alerts_json: Path, after: int, newest: int) -> Iterator[list[OutboxRow]]:
    """All that is committed above `after`, up to `newest` at least, in order and in pieces of bounded size.

    What is gone from the outbox comes from `alerts_json`, as far as that reaches; what neither has is left
    out.
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
    with suppress(FileNotFoundError), alerts_json.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES):
            if line.endswith(b"\n") and (number := alert_number(line)) is not None:
                yield number, line
