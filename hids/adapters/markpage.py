"""A page of memory shared by main and one worker: where the worker is, readable after its death."""

import mmap
import os
import struct
import tempfile
from typing import IO

_FORM = struct.Struct("=QII")
"""Marks made so far, number of the job in work, offset of the line in work."""


class MarkPage:
    """Main makes it with `new`, the worker opens it with `of`."""

    def __init__(self, page: mmap.mmap, file: "IO[bytes] | None") -> None:
        self._page = page
        self._file = file
        self._marks = 0

    @classmethod
    def new(cls) -> "MarkPage":
        """A fresh page.

        In memory, not on a disk: the page of a file whose disk is full cannot be touched without SIGBUS.
        """
        if hasattr(os, "memfd_create"):
            file: IO[bytes] = os.fdopen(os.memfd_create("hids-mark"), "w+b", buffering=0)
        else:
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it
        file.write(bytes(mmap.PAGESIZE))
        return cls(mmap.mmap(file.fileno(), mmap.PAGESIZE), file)

    @classmethod
    def of(cls, descriptor: int) -> "MarkPage":
        """The page behind a descriptor that was handed over."""
        return cls(mmap.mmap(descriptor, mmap.PAGESIZE), None)

    def mark(self, job: int, offset: int) -> None:
        """Note what is being worked on."""
        self._marks += 1
        _FORM.pack_into(self._page, 0, self._marks, job, offset)

    def read(self) -> tuple[int, int, int]:
        """(marks made, number of the job, offset of the line)."""
        marks, job, offset = _FORM.unpack_from(self._page, 0)
        return marks, job, offset

    def fileno(self) -> int:
        """The descriptor to hand over; ValueError once closed."""
        if self._file is None:
            raise ValueError("this side did not make the page")
        return self._file.fileno()

    def close(self) -> None:
        """Give the page back."""
        if self._file is not None and not self._file.closed:
            self._file.close()
            self._page.close()
