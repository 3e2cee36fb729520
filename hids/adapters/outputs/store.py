"""What a sender reads and remembers: the outbox, a cursor file, and a file of dead letters."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from hids.adapters.files import write_atomically
from hids.adapters.outbox import Outbox, OutboxRow
from hids.core.delivery import Cursor, Delivery, Wanted
from hids.core.outputs import Output
from hids.errors import StoreError
from hids.ports import Clock

log = structlog.get_logger()

BODY_BYTES = 1024 * 1024
"""A delivery ends behind the alert that reaches this size."""
DEAD_BYTES = 16 * 1024 * 1024
"""Dead letters of an output: when the file is larger, it replaces the one before it (`.1`), and a new one begins."""

_DEAD = ".dead.jsonl"


class OutputStore:
    """The outbox behind a durable cursor, as one output wants it."""

    def __init__(self, folder: Path, outbox: Outbox, output: Output, clock: Clock) -> None:
        """Files of the output are in `folder`."""
        self._path = folder / f"{output.stem}.cursor"
        self._letters = DeadLetters(folder / f"{output.stem}{_DEAD}", clock)
        self._outbox = outbox
        self._output = output
        self._wanted = Wanted(output)
        self._rows: list[OutboxRow] = []

    def cursor(self) -> Cursor:
        """What was saved.

        Raises:
            StoreError: it cannot be read, or is damaged.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Cursor)
        except FileNotFoundError:
            return Cursor()
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{self._path}: damaged: {error}; remove it, and the receiver gets again what the outbox still has"
            ) from error

    def save(self, cursor: Cursor) -> None:
        """Save durably. Raises `StoreError` when the disk does not take it."""
        write_atomically(self._path, msgspec.json.encode(cursor))

    def newest(self) -> int:
        """Number of the newest alert that is committed. Raises `StoreError` when the ledger does not say."""
        return self._outbox.newest()

    def next(self, after: int, upto: int) -> Delivery | None:
        """The next alerts after a number. A try that was begun ends where it ended before."""
        rows = self._after(after)
        if rows and after and rows[0].first > after + 1:
            log.error(
                "alerts are gone from the outbox", output=self._output.output, first=after + 1, last=rows[0].first - 1
            )
        alerts: list[bytes] = []
        size = last = 0
        for line in (line for row in rows for line in row.after(after).split(b"\n")[:-1]):
            number, wanted = self._wanted(line)
            if upto > after and number > upto:
                break
            last = number
            if wanted:
                alerts.append(line)
                size += len(line)
            if upto <= after and (len(alerts) >= self._output.batch or size >= BODY_BYTES):
                break
        return Delivery(after + 1, last, tuple(alerts)) if last else None

    def _after(self, number: int) -> list[OutboxRow]:
        """Rows with alerts above a number; what was read and not yet sent is not read again."""
        self._rows = [row for row in self._rows if row.last > number] or self._outbox.read(number)
        return self._rows

    def set_aside(self, alert: bytes, reason: str) -> None:
        """Make an alert a dead letter. Raises `StoreError` when the disk does not take it."""
        self._letters.add(alert, reason)


class DeadLetter(msgspec.Struct, frozen=True):
    """An alert that an output will never get."""

    at_ms: int
    reason: str
    alert: msgspec.Raw


class DeadLetters:
    """The file of an output's dead letters, JSON lines; bounded."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    @classmethod
    def of_all(cls, folder: Path, clock: Clock) -> "dict[str, DeadLetters]":
        """Those of every output that has some, by `type:name`."""
        paths = sorted(path for path in folder.glob(f"*{_DEAD}") if "-" in path.name)
        return {path.name.removesuffix(_DEAD).replace("-", ":", 1): cls(path, clock) for path in paths}

    def add(self, alert: bytes, reason: str) -> None:
        """Append one durably. Raises `StoreError` when the disk does not take it."""
        letter = DeadLetter(self._clock.now_ms(), reason[:1000], msgspec.Raw(alert))
        try:
            if self._path.exists() and self._path.stat().st_size > DEAD_BYTES:
                self._path.replace(self._path.with_suffix(".jsonl.1"))
            _append(self._path, msgspec.json.encode(letter) + b"\n")
        except OSError as error:
            raise StoreError(f"{self._path}: cannot write: {error.strerror}") from error

    def read(self) -> Iterator[DeadLetter]:
        """All that are there, the oldest first; a line that is torn is left out."""
        for path in (self._path.with_suffix(".jsonl.1"), self._path):
            if not path.exists():
                continue
            with path.open("rb") as file:
                for line in file:
                    try:
                        yield msgspec.json.decode(line, type=DeadLetter)
                    except (msgspec.MsgspecError, UnicodeDecodeError):
                        log.warning("dead letter cannot be read", file=str(path))


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data  # what a crash tore shall not take this one with it
        with os.fdopen(descriptor, "ab", closefd=False) as file:
            file.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
