"""`check_diff`: the log is another than the last one of the same rule and host (rule language 4.5)."""

import msgspec

from hids.core.correlate.cells import DAY_MS, Cells
from hids.core.correlate.occurrence import Occurrence, short

LOG_MAX = 8_192
"""Logs of so many bytes are not compared."""

LIFE_MS = 90 * DAY_MS
"""A log that did not change for so long is the first one again."""

_encode = msgspec.msgpack.Encoder().encode


class Changed:
    """The last log of each rule and host."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def ask(self, rule: int, occurrence: Occurrence) -> bool:
        """Compare and remember. The first log of a host is no change. The log before is left in the occurrence."""
        log = occurrence.whole("log")
        if log is None or len(log) >= LOG_MAX:
            return False
        host = occurrence.whole("hostname") or b""
        where = ("diff:" + occurrence.table.rules[rule].identity, _encode((occurrence.agent, short(host))))
        before = self._cells.get(where)
        self._cells.put(where, log, occurrence.at_ms, LIFE_MS)
        if before is None or before == log:
            return False
        occurrence.previous_log = before
        return True
