"""Many patterns, one pass over a text: which of them match?

RE2 builds in microseconds and is fast on the few hundred patterns of one program; Hyperscan takes seconds
for a thousand patterns but cannot be slowed down by hostile text, which matters where all programless
patterns meet. Each stands in for the other, and plain `re` for both.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from hids.core.pattern.pattern import Pattern

Scan = Callable[[bytes], tuple[int, ...]]
"""Text -> ids of the expressions that match, each once; the order says nothing."""

RE2_MEMORY = 16 * 1024 * 1024
"""Bytes for one set's automaton. At 8 MB some sets fell out of their cache on every line."""

Engine = Literal["re2", "hyperscan"]


class SetCache(Protocol):
    """Keeps compiled sets from one start to the next."""

    def load(self, key: str) -> bytes | None:
        """What was stored under `key` on a machine and with libraries like these; None for nothing, or nothing whole."""
        ...

    def store(self, key: str, data: bytes) -> None:
        """Keep `data`; a cache that cannot is none, and no error."""
        ...


class Scanner(NamedTuple):
    """A set of expressions, ready."""

    scan: Scan
    ids: dict[int, int]
    """Position of an expression -> its id. Of an expression without one the scan says nothing."""
    engine: str


def build(expressions: Sequence[bytes], prefer: Engine, cache: SetCache | None = None) -> Scanner:
    """Compile a set with the engine preferred, or the next that is installed and can.

    Hyperscan's sets, which take seconds, are looked for in the cache first. RE2 cannot store its own, and need not.
    """
    if not expressions:
        return Scanner(_nothing, {}, "none")
    makers: list[Callable[[Sequence[bytes]], Scanner | None]] = [_re2, partial(_hyperscan, cache=cache)]
    if prefer == "hyperscan":
        makers.reverse()
    for make in makers:
        scanner = make(expressions)
        if scanner is not None:
            return scanner
    return _plain(expressions)


def _nothing(_text: bytes) -> tuple[int, ...]:
    return ()


def _re2(expressions: Sequence[bytes]) -> Scanner | None:
    try:
        import re2  # noqa: PLC0415 - an agent has no engine  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        return None
    library: Any = re2
    options = library.Options()
    options.max_mem = RE2_MEMORY
    options.encoding = library.Options.Encoding.LATIN1
    options.log_errors = False
    compiled = library.Set.SearchSet(options)
    ids: dict[int, int] = {}
    for position, expression in enumerate(expressions):
        try:
            ids[position] = compiled.Add(expression)
        except library.error:
            continue
    # RE2 reports "out of memory" as "nothing matches". This one matches everything, so its absence tells.
    sentinel: int = compiled.Add(b"")
    compiled.Compile()
    match: Callable[[bytes], list[int] | None] = compiled.Match
    fallback: list[Scan] = []

    def scan(text: bytes) -> tuple[int, ...]:
        found = match(text)
        if found is not None and sentinel in found:
            return tuple(found)
        if not fallback:
            fallback.append(_plain([expressions[position] for position in ids]).scan)
        return fallback[0](text)

    return Scanner(scan, ids, "re2")


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A compiled set as the cache holds it."""

    taken: tuple[int, ...]
    """Positions of the expressions in it."""
    database: bytes


_encode = msgspec.msgpack.Encoder().encode
_stored_decoder = msgspec.msgpack.Decoder(_Stored)


def _hyperscan(expressions: Sequence[bytes], cache: SetCache | None = None) -> Scanner | None:
    try:
        import hyperscan  # noqa: PLC0415 - an agent has no engine
    except ImportError:
        return None
    library: Any = hyperscan
    key = _key(expressions)
    found = None if cache is None else _from_cache(library, cache.load(key), len(expressions))
    if found is None:
        found = _compiled(library, expressions)
        if found is None:
            return None
        if cache is not None:
            cache.store(key, _encode(_Stored(tuple(found[0]), library.dumpb(found[1]))))
    taken, database = found
    run: Callable[..., None] = database.scan
    hits: list[int] = []

    def note(position: int, *_where: object) -> None:
        hits.append(position)

    def scan(text: bytes) -> tuple[int, ...]:
        hits.clear()
        run(text, match_event_handler=note)
        return tuple(hits)

    return Scanner(scan, {position: position for position in taken}, "hyperscan")


def _key(expressions: Sequence[bytes]) -> str:
    """Names the content of a set."""
    digest = hashlib.sha256()
    for expression in expressions:
        digest.update(len(expression).to_bytes(8, "big") + expression)
    return digest.hexdigest()


def _from_cache(library: Any, data: bytes | None, count: int) -> tuple[Sequence[int], Any] | None:
    """The set that `data` holds; None when it is of no use here, so that it is compiled anew."""
    if data is None:
        return None
    try:
        stored = _stored_decoder.decode(data)
        if not all(0 <= position < count for position in stored.taken):
            return None
        database = library.loadb(stored.database, library.HS_MODE_BLOCK)
        database.scratch = library.Scratch(database)
    except (msgspec.MsgspecError, library.error):
        return None
    return stored.taken, database


def _compiled(library: Any, expressions: Sequence[bytes]) -> tuple[Sequence[int], Any] | None:
    """Positions of the expressions that Hyperscan takes, and their set; None when it takes none."""
    flags: int = library.HS_FLAG_SINGLEMATCH | library.HS_FLAG_ALLOWEMPTY

    def compiled(positions: Sequence[int]) -> Any:
        database = library.Database(mode=library.HS_MODE_BLOCK)
        database.compile(
            expressions=[expressions[p] for p in positions],
            ids=list(positions),
            elements=len(positions),
            flags=[flags] * len(positions),
        )
        return database

    def accepted(position: int) -> bool:
        try:
            compiled([position])
        except library.error:
            return False
        return True

    taken: Sequence[int] = range(len(expressions))
    try:
        return taken, compiled(taken)
    except library.error:
        # One bad expression spoils the set, so find out which.
        taken = [position for position in taken if accepted(position)]
        return (taken, compiled(taken)) if taken else None


def _plain(expressions: Sequence[bytes]) -> Scanner:
    # Scanners read these as bytes, as `pcre2` does.
    patterns = [Pattern("pcre2", expression) if expression else None for expression in expressions]

    def scan(text: bytes) -> tuple[int, ...]:
        return tuple(i for i, pattern in enumerate(patterns) if pattern is None or pattern.matches(text))

    return Scanner(scan, {i: i for i in range(len(patterns))}, "re")
