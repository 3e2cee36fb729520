"""Following a channel: a double of Windows' API that keeps to its contract, and no Windows at all."""

# ruff: noqa: N802, N803 - the names are those of Windows

from collections.abc import Callable
from typing import Any

import pytest

from hids.agent import eventchannel as module
from hids.agent.eventchannel import ChannelReader, WindowsChannel
from hids.core.collect.source import SourceConfig

Scene = Callable[..., None]
CONFIG = SourceConfig(path="Security", format="eventchannel")


class Api:
    """win32evtlog, as far as it is used: events are numbers, a bookmark is the number after which to go on."""

    EvtQueryChannelPath, EvtQueryForwardDirection = 1, 0x100
    EvtSeekRelativeToBookmark = 4
    EvtRenderEventXml, EvtRenderBookmark = 1, 2

    def __init__(self) -> None:
        self.events: list[int] = []
        self.broken = False

    def EvtQuery(self, path: str, flags: int, query: str) -> dict[str, int]:
        if self.broken:
            raise RuntimeError("(15007, 'EvtQuery', 'The specified channel could not be found.')")
        assert (path, flags, query) == ("Security", 0x101, "*")
        return {"at": 0}

    def EvtCreateBookmark(self, xml: str | None) -> list[int]:
        return [int(xml)] if xml else [0]

    def EvtUpdateBookmark(self, mark: list[int], event: int) -> None:
        mark[0] = event

    def EvtSeek(self, found: dict[str, int], position: int, flags: int, Bookmark: list[int]) -> None:
        assert (position, flags) == (1, 4)
        found["at"] = self.events.index(Bookmark[0]) + 1

    def EvtNext(self, found: dict[str, int], count: int, Timeout: int) -> list[int]:
        return self.events[found["at"] : found["at"] + count]

    def EvtRender(self, what: Any, flags: int) -> str:
        return str(what[0]) if flags == 2 else f"<Event><System><EventID>{what}</EventID></System></Event>"


def test_events_come_once_over_restarts(in_yard: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    api = Api()

    def start(yard: Any) -> None:
        yard_log = lambda channel, query: WindowsChannel(channel, query, api)  # noqa: E731
        reader = type("Reader", (ChannelReader,), {})
        original = reader.start
        reader.start = lambda *arguments: original(*arguments, yard_log)
        yard.start(reader, CONFIG.name, CONFIG)

    async def first(yard: Any, until: Any) -> None:
        start(yard)
        api.events += [7, 8]
        await until(lambda: len(yard.lines) == 2)
        api.broken = True
        await until(lambda: yard.said)
        assert "could not be found" in yard.said[0]

    async def second(yard: Any, until: Any) -> None:
        api.broken = False
        api.events.append(9)
        start(yard)
        await until(lambda: len(yard.lines) == 3)
        assert b"<EventID>9<" in yard.texts[2]

    in_yard(first)
    in_yard(second)


def test_elsewhere_it_says_so(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        yard.start(ChannelReader, CONFIG.name, CONFIG)
        await until(lambda: yard.said)
        assert yard.said == ['source unreadable: Security: format "eventchannel" needs Windows and the package pywin32']

    in_yard(scene)
