"""YAML as text, lists and maps, with bounds, and nothing else.

Scalars stay what was written: `4.10` is no number and `no` is no boolean. There are no tags, no anchors and no aliases, so
nothing can be made that is larger than its file.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import yaml

from hids.errors import ConfigError

MAX_BYTES: Final = 8 * 1024 * 1024
"""Wazuh's largest policy has 1.2 MB."""
MAX_DEPTH: Final = 16
"""Levels; a policy needs 5."""
MAX_NODES: Final = 500_000
"""Scalars, lists and maps; Wazuh's largest policy has some 20,000."""

Node: TypeAlias = "str | list[Node] | dict[str, Node]"

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))


def read_document(data: bytes, where: str) -> Node:
    """The one document of a YAML file; null is the empty text.

    Raises:
        ConfigError: `where` and line, and what is wrong with it.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{where}: larger than {MAX_BYTES} bytes; this is no policy")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{where}:{line}: not UTF-8; save it as UTF-8") from error
    try:
        return _Builder(where, yaml.parse(text, Loader=_LOADER)).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 0 if mark is None else int(mark.line) + 1
        raise ConfigError(f"{where}:{line}: not YAML: {getattr(error, 'problem', None) or error}") from error


class _Builder:
    """Events of the YAML parser in, a node out."""

    def __init__(self, where: str, events: Iterator[Any]) -> None:
        self._where = where
        self._events = events
        self._nodes = 0
        self._depth = 0

    def document(self) -> Node:
        """The whole file."""
        root: Node = ""
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._wrong(event, "a second document begins; one file is one policy")
                root = self._node(next(self._events))
        return root

    def _node(self, event: Any) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._wrong(event, f"more than {MAX_NODES} values; this is no policy")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._wrong(event, "anchors and aliases are not taken; write the value out")
        if isinstance(event, yaml.ScalarEvent):
            value: str = event.value
            return "" if not event.style and value in _NULLS else value
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(event, f"nested more than {MAX_DEPTH} levels deep")
        node: Node = self._list() if isinstance(event, yaml.SequenceStartEvent) else self._map()
        self._depth -= 1
        return node

    def _list(self) -> list[Node]:
        found: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event))
        return found

    def _map(self) -> dict[str, Node]:
        found: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event)
            if not isinstance(key, str):
                raise self._wrong(event, "expected a name before the colon, got a list or a map")
            if key in found:
                raise self._wrong(event, f"{key!r} is there twice; keep one")
            found[key] = self._node(next(self._events))
        return found

    def _wrong(self, event: Any, text: str) -> ConfigError:
        return ConfigError(f"{self._where}:{event.start_mark.line + 1}: {text}")
