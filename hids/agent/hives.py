r"""Hive files: the registry of a Windows that does not run here, or of an image, through `regipy`.

A hive may be broken or made to harm: its size is checked before it is read, a file cannot hold more keys than fit into
it, a key that leads back to itself ends the walk, and sizes that no file can have are not read.
"""

import contextlib
import logging
from collections.abc import Generator, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from hids.agent.registrykeys import MAX_NAME, MAX_VALUES, Key, RegistryError, Value, text_of, value_of

MAX_HIVE_BYTES = 512 * 1024 * 1024
MIN_KEY_BYTES = 80
"""What a key takes in the file at least: cell, header, name."""
MAX_DEPTH = 512
"""Levels that Windows allows."""
_EPOCH_S = 11_644_473_600
"""From 1601, where Windows counts from, to 1970."""

logging.getLogger("regipy").setLevel(logging.CRITICAL)  # what is broken is told once, by us


class _Bytes(BytesIO):
    """A hive in memory. A length with its highest bit set means "no data here", which regipy reads all the same."""

    def read(self, size: int | None = -1, /) -> bytes:
        return b"" if size is not None and size >= 1 << 31 else super().read(size)


class Hive:
    """One hive file, read when it is asked first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read: tuple[Any, int] | None = None

    def root(self) -> tuple[Any, int]:
        """The root key as regipy has it, and the file's size.

        Raises:
            RegistryError: it cannot be read.
        """
        if self._read is None:
            with self._said():
                self._read = self._open()
        return self._read

    def key(self, path: str) -> Any:
        """The key at a path below the root, as regipy has it; None when there is none. Raises as `root` does."""
        key, _ = self.root()
        with self._said():
            for name in filter(None, path.split("\\")):
                key = key.get_subkey(name, raise_on_missing=False)
                if key is None:
                    return None
        return key

    def values(self, path: str) -> dict[str, str] | None:
        """Names and data of a key's values, as text; None when there is no such key. Raises as `root` does."""
        key = self.key(path)
        if key is None:
            return None
        with self._said():
            return {str(each.name)[:MAX_NAME]: text_of(each.value) for each in islice(_iterate(key), MAX_VALUES)}

    def keys(self, top: str, below: Sequence[str], recursion: int) -> Iterator[Key]:
        """All keys below some, each once, parents first; `top` is what the root is called. Raises as `root` does."""
        left = self.root()[1] // MIN_KEY_BYTES + 1
        for path in below:
            found = self.key(path)
            waiting = [] if found is None else [(found, f"{top}\\{path}" if path else top, 0)]
            while waiting:
                left -= 1
                with self._said():
                    if left < 0:
                        raise ValueError("more keys than the file has room for")
                    key, where, depth = waiting.pop()
                    told = Key(where, _time_ns(key), tuple(_values(key)))
                yield told
                if depth < min(recursion, MAX_DEPTH):
                    with self._said():
                        waiting += reversed([(e, f"{where}\\{e.name}", depth + 1) for e in key.iter_subkeys()])

    def _open(self) -> tuple[Any, int]:
        from regipy.registry import RegistryHive  # noqa: PLC0415

        size = self._file.stat().st_size
        if size > MAX_HIVE_BYTES:
            raise RegistryError(f"{self._file}: {size} bytes; expected a hive of at most {MAX_HIVE_BYTES}")
        open_hive: Any = RegistryHive
        hive = open_hive(str(self._file))
        hive.root._stream = _Bytes(hive._stream.getvalue())  # noqa: SLF001 - see _Bytes; keys below take theirs from it
        return hive.root, size

    @contextlib.contextmanager
    def _said(self) -> Generator[None]:
        """Whatever regipy raises for a damaged file, in words."""
        try:
            yield
        except RegistryError:
            raise
        except Exception as error:
            raise RegistryError(
                f"{self._file}: damaged, or no hive: {type(error).__name__}: {str(error)[:200]}"
            ) from error


class HiveView:
    """The keys of one hive file."""

    def __init__(self, file: Path, top: str, below: Sequence[str] = (), recursion: int = MAX_DEPTH) -> None:
        r"""View a file.

        Args:
            file: the hive.
            top: what its root is called, `HKEY_LOCAL_MACHINE\SYSTEM`.
            below: only these keys, relative to the root.
            recursion: levels below each.
        """
        self._file = file
        self._top = top
        self._below = tuple(below) or ("",)
        self._recursion = recursion

    def keys(self) -> Iterator[Key]:
        """See `View`."""
        return Hive(self._file).keys(self._top, self._below, self._recursion)


def _values(key: Any) -> Iterator[Value]:
    for each in _iterate(key):
        name = "" if each.name == "(default)" else str(each.name)
        yield value_of(name, str(each.value_type), _bytes(each.value))


def _iterate(key: Any) -> Iterator[Any]:
    """A key's values with all of their data."""
    values: Iterator[Any] = key.iter_values(as_json=False, trim_values=False)
    return values


def _bytes(value: Any) -> bytes:
    """A value's data as bytes, the same for the same data; regipy has made text, numbers or lists of some."""
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-16-le", "surrogatepass")
        case int():
            return value.to_bytes(4 if 0 <= value < 1 << 32 else 8, "little", signed=value < 0)
        case [*_]:
            return b"\0\0".join([_bytes(part) for part in value])
        case _:
            return str(value).encode()


def _time_ns(key: Any) -> int:
    """When the key was written last; its header counts 100 ns from 1601."""
    return max(0, int(key.header.last_modified) * 100 - _EPOCH_S * 1_000_000_000)
