"""Kernel notifications on a loop."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hids.agent.watch import CONTENT, ENTRIES, IGNORED, MODIFIED, Event, Watcher


def test_events_come_with_their_watch_and_name(tmp_path: Path, until_async: Callable[..., Any]):
    async def main() -> None:
        events: list[Event] = []
        watcher = Watcher(asyncio.get_running_loop(), events.extend)
        folder = watcher.add(str(tmp_path), ENTRIES)
        (tmp_path / "f").write_text("x")
        file = watcher.add(str(tmp_path / "f"), CONTENT)
        assert watcher.add(str(tmp_path / "none"), CONTENT) is None
        assert watcher.add(str(tmp_path / "f"), ENTRIES) is None, "a file has no entries"
        (tmp_path / "f").write_text("y")
        await until_async(lambda: any(event.wd == file and event.mask == MODIFIED for event in events))
        assert any(event.wd == folder and event.name == "f" for event in events)
        assert file is not None
        watcher.remove(file)
        watcher.remove(file)
        await until_async(lambda: any(event.wd == file and event.mask & IGNORED for event in events))
        watcher.close()
        watcher.close()

    asyncio.run(main())
