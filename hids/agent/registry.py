r"""RegistryReader: what changes in keys of Windows' registry, told as syscheck tells files.

    registry or hive file --keys--> registry reader --Append--> spool

State    none that a restart loses: what was seen of each key is a position in the spool, stored with its facts.
Paths    a key's is its own; a value's is that of its key, two backslashes, and its name: no key has an empty name.
Broken   a hive that cannot be read to its end is said once, and nothing in it is taken for deleted.
"""

import asyncio
import fnmatch
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from hids.actors.stage import Mailbox
from hids.agent.collector import Collector, SourceState
from hids.agent.hives import HiveView
from hids.agent.registrykeys import Key, RegistryError, Value, View
from hids.agent.spooler import Recall
from hids.agent.winregistry import LiveView
from hids.core.collect.registry import RegistryConfig
from hids.core.wire.facts import pack
from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact
from hids.ports import Clock

log = structlog.get_logger()

LOCATION = "syscheck-registry"
SLICE_KEYS = 256
"""Keys that are read in one go."""
_Known = dict[str, tuple[str, int, str]]
"""Of a key: value's name -> (type, size, hash)."""
_known = msgspec.msgpack.Decoder(_Known)
_encode = msgspec.msgpack.Encoder().encode
Seen = Literal["baseline", "scan"]


class RegistryReader(Collector):
    """Check one table's keys at its times."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: RegistryConfig,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(mailbox, spool, state)
        self._config = config
        self._clock = clock
        self._say = say
        self._prefix = f"registry:{config.name}\0"
        self._scanned = f"registry-scanned:{config.name}"
        self._ignored = re.compile("|".join(fnmatch.translate(glob.casefold()) for glob in config.ignore) or "(?!)")
        self._thread = ThreadPoolExecutor(1, "registry")
        self._trouble = ""

    def closing(self) -> None:
        """Read no more."""
        super().closing()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self) -> None:
        """Scan, wait, and again."""
        while True:
            self._state.idle = False
            self._state.state = "scanning"
            try:
                await self._scan()
            except RegistryError as error:
                self._in_trouble(str(error))
            else:
                self._in_trouble("")
            await self.all_stored()
            self._state.idle = True
            await asyncio.sleep(self._config.scan_interval_s)

    async def _scan(self) -> None:
        marks: dict[str, bytes] = await self._spool.request(Recall(self._scanned))
        seen: Seen = "scan" if self._scanned in marks else "baseline"
        saved: dict[str, bytes] = await self._spool.request(Recall(self._prefix))
        for view in _views(self._config):
            keys = view.keys()
            while part := await self.loop.run_in_executor(self._thread, partial(_take, keys)):
                await self._compare(part, saved, seen)
        for name, packed in saved.items():  # what is left was not met
            await self._gone(name, _known.decode(packed), seen)
        await self.put((), {self._scanned: b"\x01"})

    async def _compare(self, keys: list[Key], saved: dict[str, bytes], seen: Seen) -> None:
        """Tell what is news of these keys, and take them out of what is `saved`."""
        facts: list[FileFact] = []
        positions: dict[str, bytes | None] = {}
        for key in keys:
            if self._is_ignored(key.path):
                continue
            values = {
                value.name: value for value in key.values if not self._is_ignored(value_path(key.path, value.name))
            }
            packed = _encode({name: value[1:] for name, value in values.items()})
            before = saved.pop(self._prefix + key.path, None)
            if packed == before:
                continue
            positions[self._prefix + key.path] = packed
            if before is None:
                facts.append(FileFact(path=key.path, seen=seen, kind="key", mtime_ns=key.mtime_ns))
            facts += _changed(key, values, {} if before is None else _known.decode(before), seen)
        await self._tell(facts, positions)

    async def _gone(self, name: str, values: _Known, seen: Seen) -> None:
        path = name.removeprefix(self._prefix)
        gone = [FileFact(path=value_path(path, value), seen=seen, gone=True, kind="value") for value in values]
        await self._tell([*gone, FileFact(path=path, seen=seen, gone=True, kind="key")], {name: None})

    async def _tell(self, facts: list[FileFact], positions: dict[str, bytes | None]) -> None:
        now_ms = self._clock.now_ms()
        lines = tuple(
            LogLine(location=LOCATION, text=text, at_ms=now_ms, read_ms=now_ms, kind="syscheck") for text in pack(facts)
        )
        if lines or positions:
            await self.put(lines, positions)

    def _is_ignored(self, path: str) -> bool:
        return self._ignored.match(path.casefold()) is not None

    def _in_trouble(self, problem: str) -> None:
        self._state.state = problem or "waiting for the next scan"
        if problem and problem != self._trouble:
            log.warning("registry cannot be read", source=self._config.name, reason=problem)
            self._say(f"source unreadable: {problem}")
        self._trouble = problem


def _take(keys: Iterator[Key]) -> list[Key]:
    return list(islice(keys, SLICE_KEYS))


def value_path(key: str, name: str) -> str:
    """The path under which the manager knows a value; the default value has no name."""
    return f"{key}\\\\{name or '(default)'}"


def _changed(key: Key, values: dict[str, Value], before: _Known, seen: Seen) -> Iterator[FileFact]:
    for name, value in values.items():
        if before.get(name) != value[1:]:
            yield FileFact(
                path=value_path(key.path, name),
                seen=seen,
                kind="value",
                size=value.size,
                mtime_ns=key.mtime_ns,
                sha256=value.sha256,
                target=value.type,
            )
    for name in before.keys() - values.keys():
        yield FileFact(path=value_path(key.path, name), seen=seen, gone=True, kind="value")


def _views(config: RegistryConfig) -> Iterator[View]:
    if config.hive:
        yield HiveView(Path(config.hive), config.path, config.keys, config.recursion)
    else:
        for arch in ("64", "32") if config.arch == "both" else (config.arch,):
            yield LiveView(config.path, arch, config.recursion)
