"""The lane: one process, one thread. Correlates, keeps baselines, and is the only writer of ledger.db.

    main --Outcome|Hole|Notice|ReadThrough|Cursors--> [correlation window -> syscheck store -> rootcheck store -> ledger]
    ledger --Committed--> main

Whatever fails in here ends the process: the next lane loads what is committed, and main sends what is above it.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog

from hids.actors.correlation_window import CorrelationWindow, Recalled, Settled
from hids.actors.ledger import Ledger, Say
from hids.actors.rootcheck_store import RootcheckStore
from hids.actors.stage import Mailbox
from hids.actors.syscheck_store import LOOK_BACK_MS, Baselined, Memory, SyscheckStore
from hids.adapters.believed import BelievedClock
from hids.adapters.channel import open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.findings import Findings
from hids.adapters.lanemark import LaneMark
from hids.adapters.ledger import Ledger as LedgerFile
from hids.adapters.ledgercopy import make_copy, restore
from hids.adapters.policies import PolicyStore
from hids.core.correlate.correlator import FIRST_SEEN_DAYS, IGNORED_DAYS
from hids.errors import StoreDamaged, StoreError
from hids.messages.baseline import BaselineOrder, Maintain
from hids.messages.lane import Committed, LaneReady, Settle, ToLane
from hids.messages.outputs import Cursors
from hids.messages.rule_table import RuleTable
from hids.messages.terms import Agent, AgentId
from hids.ports import Group
from hids.workers.inside import (
    Stopping,
    collect_seldom,
    end_on_exit,
    hold,
    move_in,
    node_of,
    parser_of,
    run,
    tell_pulse,
)

LANE_BOUND = 100_000
"""Messages; never reached, since main's credit bounds the bytes that are under way."""

EX_DATA = 65
"""Exit status when ledger.db cannot be used (sysexits.h)."""

FIRST_COPY_S = 60.0
COPY_EVERY_S = 3600.0

log = structlog.get_logger()

DERIVED_AT_ONCE = 64
"""Batches in one message: far below what a channel carries, however large they are."""

_table_decoder = msgspec.msgpack.Decoder(RuleTable)


async def _main(options: argparse.Namespace) -> int:  # noqa: PLR0915 - one step after the other
    stopping, committed_all = Stopping(), asyncio.Event()
    clock = SystemClock()
    path = Path(options.ledger)
    restored_ms = None
    try:
        store = LedgerFile(path, clock.now_ms())
    except StoreDamaged:
        restored_ms = restore(path, clock.now_ms())
        if restored_ms is None:
            raise
        store = LedgerFile(path)
    policies = PolicyStore(path.with_name("policy.db"))  # ManagerPaths.policies
    mark = LaneMark(path.with_name(path.name + ".mark"))
    poison = store.suspect(mark.last())
    mark.done()
    for place in poison:
        log.error("line set aside: it ended the lane twice", source=place.source, epoch=place.epoch, seq=place.seq)
    windows, files, findings, commits = (
        Mailbox(name, LANE_BOUND) for name in ("correlation_window", "syscheck_store", "rootcheck_store", "ledger")
    )
    end_on_exit((windows, files, findings, commits), stopped=lambda _name: committed_all.set())

    def receive(message: ToLane) -> None:
        match message:
            case Cursors() | Settle():
                commits.tell(message)
            case BaselineOrder() | Maintain():
                files.tell(message)
            case _:
                windows.tell(message)

    def settled(group: Group) -> None:
        files.tell(Baselined(group.baselines))
        windows.tell(Settled(group.state))

    channel = open_channel(socket.socket(fileno=options.channel_fd), ToLane, on_message=receive, on_close=stopping.stop)
    tables = _Tables(Path(options.tables))
    next_alert, progress = store.next_alert(), store.progress()
    channel.send(LaneReady(progress=progress, derived=(), outbox_next=next_alert, poison=poison))
    waiting = store.derived()
    for start in range(0, len(waiting), DERIVED_AT_ONCE):
        part = waiting[start : start + DERIVED_AT_ONCE]
        channel.send(Committed(progress={}, derived=part, notices=0, outbox_next=next_alert))
    manager = Agent(AgentId("000"), options.manager, "")
    Ledger.start(
        commits,
        store,
        options.boot,
        manager,
        next_alert,
        store.derived_ends(),
        tuple(options.outputs.split(",")),
        clock,
        channel.send,
        settled,
        believed=BelievedClock(clock, path.parent),
        derived_epoch=store.derived_epoch,
        outbox_bytes=options.outbox_bytes,
        stored_keys=options.stored_keys,
        history_days=options.history_days,
        history_rows=options.history_rows,
        record=policies.record,
    )
    found = Findings(path.with_name("rootcheck.db"))
    RootcheckStore.start(findings, found, commits.tell)
    memory = Memory(
        store.baseline,
        store.changes,
        store.below,
        store.entries,
        store.maintenance(since_ms=clock.now_ms() - LOOK_BACK_MS),
    )
    SyscheckStore.start(files, memory, manager, clock, findings.tell, mark, auto_ignore=options.auto_ignore)
    CorrelationWindow.start(
        windows,
        Recalled(progress, store.fired(), next_alert, {options.boot: store.notices(options.boot)}),
        store.window,
        tables.table,
        store.knows,
        clock,
        files.tell,
        log_level=options.log_level,
        budget_bytes=options.window_bytes,
        first_seen_days=options.first_seen_days,
        ignored_days=options.ignored_days,
        tells_all=options.alert_on == "all",
        mark=mark,
    )
    if restored_ms is not None:
        made = datetime.fromtimestamp(restored_ms / 1000, UTC)
        commits.tell(
            Say(f"ledger restored: it was damaged; what was committed after {made:%Y-%m-%dT%H:%M:%SZ} is missing")
        )
    copying = asyncio.ensure_future(_keep_copy(path))
    pulse = asyncio.ensure_future(
        tell_pulse(
            channel,
            lambda: (
                node_of(windows, "correlation windows"),
                node_of(files, "syscheck store"),
                node_of(findings, "rootcheck store"),
                node_of(commits, "ledger"),
            ),
        )
    )
    status = await stopping.wait()
    pulse.cancel()
    copying.cancel()
    commits.shut_down()
    await committed_all.wait()
    store.close()
    policies.close()
    found.close()
    mark.close()
    return status


async def _keep_copy(ledger: Path) -> NoReturn:
    """Have a good copy that is never much older than an hour. SQLite works without Python's lock, so in a thread."""
    await asyncio.sleep(FIRST_COPY_S)
    while True:
        try:
            if not await asyncio.to_thread(make_copy, ledger):
                log.warning("no copy of the ledger: too little room", ledger=str(ledger))
        except StoreError as error:
            log.warning("no copy of the ledger", reason=str(error))
        await asyncio.sleep(COPY_EVERY_S)


class _Tables:
    """Rule tables by hash, read from where the nursery wrote them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, RuleTable] = {}

    def table(self, name: str) -> RuleTable:
        """The table of a ruleset; outcomes keep naming the old one for a while after a reload.

        Raises:
            LookupError: there is none of that hash.
        """
        if name not in self._tables:
            path = self._folder / f"{name}.msgpack"
            try:
                self._tables[name] = _table_decoder.decode(path.read_bytes())
            except FileNotFoundError as error:
                raise LookupError(f"{path}: no such rule table; `hidsctl rules reload` writes it anew") from error
        return self._tables[name]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-lane")
    parser.add_argument("--ledger", required=True, help="path of ledger.db")
    parser.add_argument("--tables", required=True, help="folder of the rule tables")
    parser.add_argument("--boot", required=True, help="names this run of main, for its notices")
    parser.add_argument("--manager", required=True, help="the manager's name in alerts")
    parser.add_argument("--outputs", required=True, help="names of all outputs, with commas")
    parser.add_argument("--log-level", type=int, default=3, help="lowest rule level that is an alert")
    parser.add_argument("--alert-on", choices=("highest", "all"), default="highest")
    parser.add_argument("--stored-keys", type=int, default=4_000_000, help="rows of correlation state on disk")
    parser.add_argument("--window-bytes", type=int, default=256 * 1024 * 1024)
    parser.add_argument("--first-seen-days", type=int, default=FIRST_SEEN_DAYS)
    parser.add_argument("--ignored-days", type=int, default=IGNORED_DAYS)
    parser.add_argument("--outbox-bytes", type=int, default=2 * 1024 * 1024 * 1024)
    parser.add_argument("--auto-ignore", action="store_true", help="changes of a file beyond the third are no alert")
    parser.add_argument("--history-days", type=int, default=365, help="changes of files are kept so long")
    parser.add_argument("--history-rows", type=int, default=1_000_000, help="... and so many")
    options = parser.parse_args(arguments)
    move_in(options.parent)
    collect_seldom()
    ledger = Path(options.ledger)
    hold(ledger.with_name(ledger.name + ".lock"))
    try:
        run(_main(options))
    except StoreError as error:
        log.error("the lane cannot start", reason=str(error))  # noqa: TRY400 - the text says it all
        sys.exit(EX_DATA)


if __name__ == "__main__":
    main()
