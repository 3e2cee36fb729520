"""The rules that were good last, as they were read: for a nursery that starts while somebody is halfway through an edit.

Without them a manager whose nursery dies in that moment, or that is started then, would watch nothing until the edit is done.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog
import zstandard

from hids.adapters.files import write_atomically
from hids.core.packed import unpack
from hids.core.rules.rule import SourceFile
from hids.errors import StoreError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class RulesRead(msgspec.Struct, frozen=True):
    """What was read of a ruleset's folder."""

    files: tuple[SourceFile, ...]
    """In the order in which they count."""
    lists: dict[str, bytes]


class _Kept(msgspec.Struct, frozen=True):
    key: bytes
    read: tuple[RulesRead, ...]


class GoodRules:
    """Keeps them in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, key: bytes, read: Sequence[RulesRead]) -> None:
        """Keep these, unless they are what is kept; `key` says which rulesets they are. A disk that refuses is logged."""
        data = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(_Kept(key, tuple(read))))
        try:
            if not self._path.exists() or self._path.read_bytes() != data:
                write_atomically(self._path, data)
        except (StoreError, OSError) as error:
            log.warning("the rules that are good now are not kept", reason=str(error))

    def load(self, key: bytes) -> tuple[RulesRead, ...] | None:
        """Those that were kept last; None when there are none, or they are of other rulesets."""
        try:
            kept = msgspec.msgpack.decode(unpack(self._path.read_bytes()), type=_Kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("the rules that were good last cannot be read", file=str(self._path), reason=str(error))
            return None
        return kept.read if kept.key == key else None
