"""The archive of events: which batches are kept, and a kept line as people read it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact
from hids.messages.terms import Agent

_COPIES = ("derived/accumulate/", "derived/replay/")
"""Lines of these sources are in the archive already, as what they were made from."""

_fact_decoder = msgspec.msgpack.Decoder(FileFact)


def is_kept(source: str) -> bool:
    """Whether lines of a source are archived."""
    return not source.startswith(_COPIES)


def told(agent: Agent, source: str, epoch: int, seq: int, line: LogLine, offset_ms: int) -> dict[str, Any]:
    """A line as an object, in the form of Wazuh's archives.json."""
    at = datetime.fromtimestamp((line.at_ms + offset_ms) / 1000, UTC)
    return {
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+0000",
        "id": f"{agent.id}-{epoch}-{seq}",
        "agent": {"id": agent.id, "name": agent.name, "ip": agent.ip},
        "full_log": text_of(line),
        "location": line.location,
        "hids": {"source": source, "kind": line.kind},
    }


def text_of(line: LogLine) -> str:
    """What the line says; what syscheck saw of a file, as JSON."""
    if line.kind == "syscheck" and not line.facts:
        try:
            return msgspec.json.encode(_fact_decoder.decode(line.text)).decode()
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
    return line.text.decode("utf-8", "replace")


def span(lines: tuple[LogLine, ...], offset_ms: int) -> tuple[int, int]:
    """Event times of the first and the last of some lines, by the manager's clock."""
    times = [line.at_ms + offset_ms for line in lines]
    return min(times), max(times)


def numbered(first: int, lines: tuple[LogLine, ...]) -> Iterator[tuple[int, LogLine]]:
    """Lines with their sequences."""
    return enumerate(lines, first)
