"""What an actor learns over weeks, kept as one JSON document: lost, it is learned anew, and nothing else is."""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import structlog

from hids.errors import StoreError

log = structlog.get_logger()

T = TypeVar("T")


class Store:
    """Where it is kept; see hids.adapters.files."""

    def __init__(self, load: Callable[[], bytes | None], save: Callable[[bytes], None]) -> None:
        self.load = load
        self.save = save


class Learned(Generic[T]):
    """Reads and writes it; what cannot be read or written is told, and no failure."""

    def __init__(self, store: Store, kind: type[T], subject: str) -> None:
        """`kind` is what is kept, and its default what to begin with; `subject` says in words what was learned about."""
        self._store = store
        self._kind = kind
        self._subject = subject

    def load(self) -> T:
        """What was kept last, or the beginning."""
        try:
            data = self._store.load()
            return self._kind() if data is None else msgspec.json.decode(data, type=self._kind)
        except (StoreError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("what was learned is lost, learning anew", about=self._subject, reason=str(error))
            return self._kind()

    def save(self, value: T) -> None:
        """Keep it."""
        try:
            self._store.save(msgspec.json.encode(value))
        except StoreError as error:
            log.warning("what was learned is not saved", about=self._subject, reason=str(error))
