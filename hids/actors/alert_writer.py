"""AlertWriter: one destination of alerts, behind its own durable cursor.

    main --Outboxed--> alert writer --> file or index;  alert writer --Cursors--> main --> ledger

State    the destination holds its own cursor; a new life goes on behind it.
Full     a disk that is full, or a destination that fails, is tried again each second; the outbox keeps the alerts.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.errors import StoreError
from hids.messages.outputs import Cursors, Outboxed
from hids.ports import Emit

log = structlog.get_logger()

SAVE_S = 1.0

Row_contra = TypeVar("Row_contra", contravariant=True)
Row = TypeVar("Row")


class Destination(Protocol[Row_contra]):
    """Where alerts go (hids.adapters.outputs, hids.adapters.search_index)."""

    @property
    def number(self) -> int:
        """The last alert it has."""
        ...

    @property
    def saved(self) -> int:
        """The last alert it will have whatever happens."""
        ...

    def append(self, rows: Sequence[Row_contra]) -> None:
        """Add the alerts of `rows` above `number`; StoreError when it cannot now."""
        ...

    def save(self) -> None:
        """Make what was added durable."""
        ...

    def close(self) -> None:
        """Save and close."""
        ...


class Tick(OneLife):
    """timer -> alert writer: save, report, try again what failed."""


class AlertWriter(LoopActor, Generic[Row]):
    """Follow the outbox."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_destination: Callable[[int], Destination[Row]],
        rows_after: Callable[[int, int], Iterator[Sequence[Row]]],
        emit: Emit[Cursors],
    ) -> None:
        super().__init__(mailbox)
        self._open = open_destination
        self._rows_after = rows_after
        self._emit = emit
        self._destination: Destination[Row] | None = None
        self._rows: Iterator[Sequence[Row]] | None = None
        self._newest = 0
        self._reported = -1
        self._failing = ""
        self._timer = self.later(SAVE_S, Tick())

    def on_receive(self, message: Outboxed | Tick) -> None:
        """Write what is new, or save what is written."""
        match message:
            case Outboxed():
                self._newest = message.next - 1
                self._try(self._follow)
            case Tick():
                self._try(self._settle)
                self._timer = self.later(SAVE_S, Tick())

    def on_shutdown(self) -> None:
        """Write what is committed, then stop."""
        self._try(self._settle)
        self.stop()

    def closing(self) -> None:
        """Close the destination with its cursor saved."""
        self._timer.cancel()
        destination, self._destination = self._destination, None
        if destination is not None:
            self._try(destination.close)

    def facts(self) -> dict[str, str | int]:
        """Figures for `hidsctl status`."""
        written = self._destination.number if self._destination is not None else 0
        return {"written": written, "lag": max(0, self._newest - written), "failing": self._failing}

    def _follow(self) -> None:
        """Write one piece, and come back for the next, so that nothing else here waits for long."""
        if self._destination is None:
            self._destination = self._open(self._newest)
        if self._rows is None:
            self._rows = self._rows_after(self._destination.number, self._newest)
        rows = next(self._rows, None)
        if rows is None:
            self._rows = None
            return
        self._destination.append(rows)
        if self.mailbox.depth == 0:
            self.mailbox.tell(Outboxed(self._newest + 1))

    def _settle(self) -> None:
        if self._newest == 0 and self._destination is None:
            return
        self._follow()
        destination = self._destination
        if destination is not None:
            destination.save()
            if destination.saved != self._reported:
                self._reported = destination.saved
                self._emit(Cursors(positions={self.mailbox.name: destination.saved}))

    def _try(self, step: Callable[[], None]) -> None:
        """Whatever the destination cannot do now is tried again at the next tick."""
        try:
            step()
        except StoreError as error:
            self._rows = None
            if self._failing != str(error):
                self._failing = str(error)
                log.error("output fails, trying again", output=self.mailbox.name, reason=self._failing)  # noqa: TRY400
        else:
            if self._failing:
                log.info("output works again", output=self.mailbox.name)
            self._failing = ""
