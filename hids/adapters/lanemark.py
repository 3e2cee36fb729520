"""Where the lane is: a page of a file that its successor reads after its death."""

import mmap
import os
import struct
from pathlib import Path

from hids.messages.lane import Place

_FORM = struct.Struct("=QQH")
"""Sequence of the line in work (0: none), epoch, bytes of the source's name that follow."""
_SEQ = struct.Struct("=Q")
_MAX_SOURCE = 1024


class LaneMark:
    """Notes the line in work. A write is a store to memory: it outlives the process, not the machine.

    Open it only while the ledger's lock is held: one lane at a time.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < mmap.PAGESIZE:
                # Written, not left sparse: a page of a file on a full disk cannot be touched without SIGBUS.
                os.pwrite(descriptor, bytes(mmap.PAGESIZE), 0)
            self._page = mmap.mmap(descriptor, mmap.PAGESIZE)
        finally:
            os.close(descriptor)

    def last(self) -> Place | None:
        """The line that was in work when the process before ended; None when there was none."""
        seq, epoch, length = _FORM.unpack_from(self._page, 0)
        if not seq or length > _MAX_SOURCE:
            return None
        name = self._page[_FORM.size : _FORM.size + length]
        return Place(name.decode("ascii", "replace"), epoch, seq)

    def begin(self, source: str, epoch: int) -> None:
        """Lines of this source follow."""
        name = source.encode("ascii", "replace")[:_MAX_SOURCE]
        _FORM.pack_into(self._page, 0, 0, epoch, len(name))
        self._page[_FORM.size : _FORM.size + len(name)] = name

    def at(self, seq: int) -> None:
        """This line is in work."""
        _SEQ.pack_into(self._page, 0, seq)

    def done(self) -> None:
        """None is."""
        _SEQ.pack_into(self._page, 0, 0)

    def close(self) -> None:
        """Give the page back."""
        self._page.close()
