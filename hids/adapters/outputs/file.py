"""Alert file: appends the outbox's alerts to a file, each exactly once, over crashes and rotation by others.

Nothing in the file is ever removed or rewritten: whoever ships it elsewhere would read it twice. So after a
crash the file itself says where to go on. Every complete record in it names its alert's number, and a record
that was torn is completed. The cursor file `<name>.cursor` tells where to begin to look, and how far the
alerts are safely on disk; it is saved at least each second while alerts come.

When another program moved, removed or cut the file, the next alert goes to a new one, or to the end of what
is there. The number is known from memory then, and after a crash from the cursor and from the old file, if
that still lies in the same folder.

With `Keeping` the file is sealed as it grows (hids.adapters.evidence), and brought to its place when its day is
over or it is too large (hids.adapters.rotated): between two records, after the cursor was saved.
"""

import os
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path

import msgspec
import structlog

from hids.adapters.evidence.seals import Seals
from hids.adapters.files import write_atomically
from hids.adapters.outbox import OutboxRow, alert_number
from hids.core.alert.incident import only_news
from hids.core.alert.text import number_of, text
from hids.errors import StoreError
from hids.ports import Clock

MODE = 0o640
"""Owner and group: log shippers are put into the group."""

SAVE_EVERY_S = 1.0
"""Age of the saved cursor at most, while alerts come."""

_LOOK_BACK = 4 * 1024 * 1024
"""Bytes at the end of a file that the cursor does not know, in which the last record's number is searched."""

_MAX_TORN = 1024 * 1024
"""A torn record longer than this is none of ours: a log line has at most 64 KiB."""

_CHUNK = 1024 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Form(msgspec.Struct, frozen=True):
    """How alerts look in a file."""

    render: Callable[[bytes], bytes]
    """JSON lines -> what is written for them."""
    end: bytes
    """Ends every record and occurs nowhere else in it."""
    number: Callable[[bytes], int | None]
    """A complete record -> its alert's number; None: the record is not one of ours."""


def text_lines(lines: bytes, tz: tzinfo | None) -> bytes:
    """Alerts as JSON lines -> the same alerts as blocks of alerts.log; `tz` is the zone of their date lines."""
    blocks: list[str] = []
    for line in lines.split(b"\n")[:-1]:
        try:
            blocks.append(text(line, tz))
        except ValueError as error:  # alerts.json has it
            log.error("alert left out of the text file", error=str(error), line=line[:1000])  # noqa: TRY400
    return "".join(blocks).encode()


JSON_LINES = Form(render=bytes, end=b"\n", number=alert_number)
"""alerts.json: one object a line, as committed."""


NEWS_LINES = Form(render=only_news, end=b"\n", number=alert_number)
"""incidents.json: of alerts that are part of an incident those that say something new of it."""


def text_blocks(tz: tzinfo | None = None) -> Form:
    """alerts.log: OSSEC's text form, with dates in `tz`; None is the zone of this process."""
    return Form(render=partial(text_lines, tz=tz), end=b"\n\n", number=number_of)


class _Cursor(msgspec.Struct, frozen=True):
    """Alerts up to `number` are on disk; the record after it begins at `offset` of the file `inode`."""

    number: int = 0
    inode: int = 0
    offset: int = 0


class Keeping(msgspec.Struct, frozen=True):
    """How a file's past is kept."""

    seals: Seals
    max_bytes: int = 0
    """A file of this size is put away before its day is over; 0: none is."""


class AlertFile:
    """Appends alerts to `path`. For one thread, and the only writer of this path.

    Hand it the rows that the outbox gives after `number`; alerts that it has already are left out. Report
    `saved` to whoever deletes outbox rows, never `number`. Call `save` once a second, so that the last alerts
    before a quiet time get saved as well.

    After a `StoreError` (disk full, say) call `append` again with the rows after `number`; nothing is
    doubled.

    Args:
        path: the file; its folder must exist.
        form: `JSON_LINES` or `text_blocks()`.
        newest: number of the newest alert that is committed. An older ledger may have been restored, and then
            numbers come again for other alerts: the file goes on after `newest`.
        clock: tells when a second has passed, and which day it is.
        keeping: seals the file and puts it away; None: nobody does.

    Raises:
        StoreError: the file or the cursor cannot be opened or read.
    """

    def __init__(self, path: Path, form: Form, newest: int, clock: Clock, keeping: Keeping | None = None) -> None:
        self.missed = 0
        """Alerts that were gone from the outbox before they could be written, since this object was made."""
        self._path = path
        self._form = form
        self._clock = clock
        self._keeping = keeping
        self._day = self._today()
        """Day of the last record in the file."""
        self._fd = -1
        self._torn = b""
        self._cursor_path = path.with_name(path.name + ".cursor")
        self._at = self._saved = self._load()
        self._saved_at_s = clock.monotonic_s()
        if self._at.number > newest:
            log.warning("ledger is older than the file", file=str(path), written=self._at.number, newest=newest)
            self._at = self._saved = msgspec.structs.replace(self._at, number=newest)
        if keeping is not None:
            self._guard("put away", partial(self._recover, keeping.seals))
        self._guard("open", partial(self._open, newest))
        written = datetime.fromtimestamp(os.fstat(self._fd).st_mtime).date()  # noqa: DTZ006 - days are local
        self._day = min(written, self._today())  # it may be of a time when the clock was ahead

    @property
    def number(self) -> int:
        """The last alert in the file; read the outbox after it."""
        return self._at.number

    @property
    def saved(self) -> int:
        """The last alert that will be in the file whatever happens: its outbox row is no longer needed."""
        return self._saved.number

    def append(self, rows: Sequence[OutboxRow]) -> None:
        """Write the alerts of `rows` above `number`.

        Raises:
            StoreError: it could not be written. What did get to the file counts, and is not written again.
        """
        self._guard("append to", self._follow)
        self._put_away()
        for row in rows:
            if row.last > self._at.number:
                self._guard("append to", partial(self._append, row))
        if self._clock.monotonic_s() - self._saved_at_s >= SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Bring what was written to the disk, then the cursor. Does nothing when nothing was written.

        Raises:
            StoreError: the disk did not take it; the cursor before it still holds.
        """
        self._put_away()
        self._save()

    def _save(self) -> None:
        keeping = self._keeping
        if self._at != self._saved or (keeping is not None and keeping.seals.sealed < self._at.offset):
            self._guard("bring to the disk", partial(os.fdatasync, self._fd))
            if keeping is not None:
                self._guard("seal", partial(keeping.seals.seal, self._fd, self._at.offset))
            write_atomically(self._cursor_path, msgspec.json.encode(self._at), MODE)
            self._saved = self._at
        if keeping is not None:
            self._guard("sign", keeping.seals.tick)
        self._saved_at_s = self._clock.monotonic_s()

    def close(self) -> None:
        """Save and close. Raises `StoreError` when saving failed; the file is closed then, too."""
        try:
            self._save()
            if self._keeping is not None:
                self._guard("sign", self._keeping.seals.stop)
        finally:
            os.close(self._fd)
            self._fd = -1

    def _guard(self, action: str, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot {action} this file: {error.strerror}; alerts after {self._at.number}"
                " wait in the outbox, and are written once the cause is gone"
            ) from error

    # -- where to go on --------------------------------------------------------------------------------------

    def _load(self) -> _Cursor:
        try:
            return msgspec.json.decode(self._cursor_path.read_bytes(), type=_Cursor)
        except FileNotFoundError:
            return _Cursor()
        except OSError as error:
            raise StoreError(f"{self._cursor_path}: cannot be read: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning(
                "cursor is damaged, the file itself says where to go on",
                error=str(error),
                file=str(self._path),
            )
            return _Cursor()

    def _open(self, newest: int) -> None:
        """Open the file, and find what it holds of the alerts up to `newest`."""
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        if self._fd >= 0:
            os.fdatasync(self._fd)  # the cursor will soon speak for what is in there
            os.close(self._fd)
        self._fd = fd
        if not self._continues(fd):
            if self._at.inode:
                log.warning("file was replaced or cut by another program", file=str(self._path), after=self._at.number)
                self._read_moved(newest)
            stat = os.fstat(fd)
            self._at = _Cursor(self._at.number, stat.st_ino, max(0, stat.st_size - _LOOK_BACK))
        self._torn = self._scan(fd, newest)
        if self._keeping is not None:
            self._keeping.seals.go_on(fd, self._at.offset)

    def _continues(self, fd: int) -> bool:
        """Whether the file is the cursor's, and a record ends at the cursor's offset."""
        stat, offset = os.fstat(fd), self._at.offset
        if stat.st_ino != self._at.inode or stat.st_size < offset:
            return False
        end = self._form.end
        return offset == 0 or os.pread(fd, len(end), offset - len(end)) == end

    def _read_moved(self, newest: int) -> None:
        """Take the number from the cursor's file, if it was renamed within its folder and grew since."""
        for entry in os.scandir(self._path.parent):
            if entry.inode() == self._at.inode and entry.is_file(follow_symlinks=False):
                fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    if self._continues(fd):
                        self._scan(fd, newest)
                finally:
                    os.close(fd)

    def _scan(self, fd: int, newest: int) -> bytes:
        """Move over the complete records from the offset on; return what follows the last of them.

        Numbers above `newest` cannot be of this ledger: someone else's alerts, or those of a ledger that is
        gone.
        """
        end, torn = self._form.end, b""
        while chunk := os.pread(fd, _CHUNK, self._at.offset + len(torn)):
            *records, torn = (torn + chunk).split(end)
            numbers = (number for number in map(self._form.number, records) if number is not None and number <= newest)
            offset = self._at.offset + sum(len(record) + len(end) for record in records)
            if (excess := len(torn) - _MAX_TORN) > 0:
                offset, torn = offset + excess, torn[excess:]
            self._at = _Cursor(max(self._at.number, *numbers, 0), self._at.inode, offset)
        return torn

    # -- writing ---------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Open the file anew when the path leads to another one, or when it was cut."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            stat = None
        if stat is None or stat.st_ino != self._at.inode or stat.st_size < self._at.offset + len(self._torn):
            self._open(newest=self._at.number)

    def _append(self, row: OutboxRow) -> None:
        gap = row.first - self._at.number - 1
        if gap > 0 and self._at.number:  # a new file begins with what there still is
            self.missed += gap
            log.error("alerts are gone from the outbox", file=str(self._path), first=self._at.number + 1, alerts=gap)
        data = self._form.render(row.after(self._at.number))
        if not data:  # none of them is for this file; what was torn is a later one's
            self._at = msgspec.structs.replace(self._at, number=row.last)
            return
        if data.startswith(self._torn):
            rest = data[len(self._torn) :]
        else:
            log.warning("torn record is not the next alert's, ending it", file=str(self._path), torn=self._torn[:200])
            rest = self._form.end + data
        try:
            _write(self._fd, rest)
        except OSError:
            self._torn = self._scan(self._fd, row.last)
            if self._keeping is not None:
                self._keeping.seals.forget_fed()
            raise
        if self._keeping is not None:
            self._keeping.seals.feed(self._torn + rest)
        self._torn = b""
        self._day = self._today()
        self._at = _Cursor(row.last, self._at.inode, os.lseek(self._fd, 0, os.SEEK_CUR))

    # -- putting away ----------------------------------------------------------------------------------------

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000).date()  # noqa: DTZ006 - days are local, as OSSEC's

    def _recover(self, seals: Seals) -> None:
        if seals.recover():
            self._at = _Cursor(self._at.number)

    def _put_away(self) -> None:
        """Bring the file to its place when it is time; what comes next goes to a new one."""
        keeping = self._keeping
        if keeping is None or self._torn or not self._at.offset:
            return
        over = self._today() not in (
            self._day,
            self._day - timedelta(days=1),
        )  # set back a little, a clock changes no file
        if not over and not 0 < keeping.max_bytes <= self._at.offset:
            return
        self._save()
        if keeping.seals.sealed < self._at.offset:
            return  # much of it was not sealed yet: the next save goes on with that
        self._guard("put away", partial(keeping.seals.rotate, self._day))
        self._at = _Cursor(self._at.number)
        self._guard("open", partial(self._open, self._at.number))
        self._day = self._today()
        self._save()


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
