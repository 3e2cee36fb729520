"""The outputs' process: one actor a destination.

main --Outboxed--> [alert writer ...] --Cursors--> main
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hids.actors.alert_writer import AlertWriter, Destination
from hids.actors.stage import Mailbox
from hids.adapters.archive import rows_after
from hids.adapters.believed import BelievedClock
from hids.adapters.clock import SystemClock
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.evidence.seals import Seals
from hids.adapters.evidence.streams import records_of
from hids.adapters.outbox import Outbox, OutboxRow
from hids.adapters.outputs.file import JSON_LINES, NEWS_LINES, AlertFile, Form, Keeping, text_blocks
from hids.adapters.search_index import SearchIndex
from hids.messages.outputs import ToOutput
from hids.ports import Clock
from hids.workers.inside import Household, collect_seldom, hold, move_in, newest_to, parser_of, run

ALERTS_JSON = "alerts.json"
ALERTS_LOG = "alerts.log"
INCIDENTS_JSON = "incidents.json"
SEARCH_DB = "search.db"

ALERT_OUTPUTS = (ALERTS_JSON, ALERTS_LOG, INCIDENTS_JSON)
INDEX_OUTPUTS = (SEARCH_DB,)
"""The index is a process of its own: it may lag, and must not slow the files."""

DAY_MS = 86_400_000

Opener = Callable[[int], Destination[OutboxRow]]


class _Index:
    """`SearchIndex` as a destination: what it has is durable at once."""

    def __init__(self, path: Path, newest: int, clock: Clock, days: int, max_bytes: int) -> None:
        self._index = SearchIndex(path, newest)
        self._clock = clock
        self._days = days
        self._max_bytes = max_bytes

    @property
    def number(self) -> int:
        return self._index.number

    @property
    def saved(self) -> int:
        return self._index.number

    def append(self, rows: Sequence[OutboxRow]) -> None:
        self._index.add(rows)

    def save(self) -> None:
        """Each `add` is a transaction; what is left of the second is for forgetting, a piece at a time."""
        if self._days or self._max_bytes:
            before_ms = self._clock.now_ms() - self._days * DAY_MS if self._days else 0
            self._index.trim(before_ms, self._max_bytes)

    def close(self) -> None:
        self._index.close()


def _openers(names: Sequence[str], options: argparse.Namespace) -> dict[str, Opener]:
    known: dict[str, Opener] = {
        ALERTS_JSON: partial(_open_file, options, ALERTS_JSON, JSON_LINES),
        ALERTS_LOG: partial(_open_file, options, ALERTS_LOG, text_blocks()),
        INCIDENTS_JSON: partial(_open_file, options, INCIDENTS_JSON, NEWS_LINES),
        SEARCH_DB: partial(_open_index, options),
    }
    return {name: known[name] for name in names}


def _open_index(options: argparse.Namespace, newest: int) -> _Index:
    clock = BelievedClock(SystemClock(), Path(options.ledger).parent)
    return _Index(Path(options.search), newest, clock, options.search_days, options.search_bytes)


def _open_file(options: argparse.Namespace, name: str, form: Form, newest: int) -> AlertFile:
    clock, path, evidence = SystemClock(), Path(options.alerts) / name, Path(options.evidence)
    heads = Heads(evidence / f"{name}.heads", EvidenceKey.open_or_create(evidence))
    seals = Seals(path, records_of(name), heads, clock, head_every_s=options.head_every_s)
    return AlertFile(path, form, newest, clock, Keeping(seals, options.rotate_bytes))


def reopened(opener: Opener, outbox: Outbox, newest: int) -> Destination[OutboxRow]:
    """Open a destination.

    Numbers above the newest committed alert are of a ledger that is gone; those above `newest`, of which main has
    heard, need not be.
    """
    return opener(max(newest, outbox.newest()))


def _from_outbox(outbox: Outbox, after: int, _newest: int) -> Iterator[Sequence[OutboxRow]]:
    while rows := outbox.read(after):
        yield rows
        after = rows[-1].last


async def _main(options: argparse.Namespace) -> int:
    alerts = Path(options.alerts)
    mailboxes = {name: Mailbox(name) for name in options.outputs.split(",")}
    actors = tuple(mailboxes.values())
    household = Household(options.channel_fd, ToOutput, actors, "alert writer", newest_to(actors))
    for name, opener in _openers(tuple(mailboxes), options).items():
        outbox = Outbox(Path(options.ledger))
        rows = (
            partial(rows_after, outbox, alerts / ALERTS_JSON)
            if name in INDEX_OUTPUTS
            else partial(_from_outbox, outbox)
        )
        AlertWriter.start(mailboxes[name], partial(reopened, opener, outbox), rows, household.send)
    return await household.live()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-outputs")
    parser.add_argument("--outputs", required=True, help="which, with commas")
    parser.add_argument("--ledger", required=True, help="path of ledger.db")
    parser.add_argument("--alerts", required=True, help="folder of the alert files")
    parser.add_argument("--search", required=True, help="path of search.db")
    parser.add_argument("--evidence", required=True, help="folder of the key and the signed heads")
    parser.add_argument("--head-every-s", type=float, default=600.0)
    parser.add_argument("--rotate-bytes", type=int, default=0, help="a file of this size is put away; 0: none is")
    parser.add_argument("--search-days", type=int, default=0)
    parser.add_argument("--search-bytes", type=int, default=0)
    options = parser.parse_args(arguments)
    move_in(options.parent)
    collect_seldom()
    hold(Path(options.alerts) / f".{options.outputs}.lock")
    run(_main(options))


if __name__ == "__main__":
    main()
