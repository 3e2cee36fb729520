"""ChannelReader: a channel of Windows' event log, live, through pywin32. Experimental.

It needs Windows and the package pywin32; elsewhere it says so and waits.
"""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from hids.actors.stage import Mailbox
from hids.agent.collector import SourceState
from hids.agent.eventlog import MAX_RECORDS, EventLog, EventLogReader, Record
from hids.agent.machine import host_address, host_name
from hids.agent.spooler import Recall
from hids.core.collect.shape import Place
from hids.core.collect.source import SourceConfig
from hids.ports import Clock

POLL_S = 1.0
"""Asking a channel for what comes after a bookmark costs next to nothing."""
RETRY_S = 60.0


class WindowsChannel:
    """One channel as an `EventLog`; see winevt.h: EvtQuery, EvtSeek, EvtNext, EvtRender."""

    def __init__(self, channel: str, query: str, api: Any = None) -> None:
        """`api` is the module win32evtlog.

        Raises:
            OSError: this is not Windows, or pywin32 is not installed.
        """
        self._channel = channel
        self._query = query or "*"
        try:
            self._api = api if api is not None else importlib.import_module("win32evtlog")
        except ImportError as error:
            raise OSError('format "eventchannel" needs Windows and the package pywin32') from error

    def read(self, after: bytes) -> Sequence[Record]:
        """See `EventLog.read`; a bookmark is the XML that Windows makes of it."""
        api = self._api
        try:
            found = api.EvtQuery(self._channel, api.EvtQueryChannelPath | api.EvtQueryForwardDirection, self._query)
            if after:
                mark = api.EvtCreateBookmark(after.decode("utf-8", "replace"))
                api.EvtSeek(found, 1, api.EvtSeekRelativeToBookmark, Bookmark=mark)
            return [self._record(event) for event in api.EvtNext(found, MAX_RECORDS, Timeout=0)]
        except OSError:
            raise
        except Exception as error:  # pywintypes.error is no OSError
            raise OSError(str(error)) from error

    def _record(self, event: Any) -> Record:
        api = self._api
        mark = api.EvtCreateBookmark(None)
        api.EvtUpdateBookmark(mark, event)
        bookmark: str = api.EvtRender(mark, api.EvtRenderBookmark)
        return Record(bookmark.encode(), 0, str(api.EvtRender(event, api.EvtRenderEventXml)))


class ChannelReader(EventLogReader):
    """Follow one channel."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        state: SourceState,
        config: SourceConfig,
        clock: Clock,
        say: Callable[[str], None],
        open_log: Callable[[str, str], EventLog] = WindowsChannel,
    ) -> None:
        super().__init__(mailbox, spool, state, config.shape, clock, say)
        self._config = config
        self._open_log = open_log
        self._key = f"eventchannel:{config.path}"

    async def run(self) -> None:
        """Read, wait a moment, and again."""
        saved: dict[str, bytes] = await self._spool.request(Recall(self._key))
        after = saved.get(self._key, b"")
        name = self._config.path
        place = Place(name, host_name(), host_address())
        while True:
            try:
                log = self._open_log(name, self._config.query)
                while True:
                    self._state.idle = False
                    after = await self.drain(log, self._key, after, place)
                    await self.all_stored()
                    self.trouble(name, "")
                    self._state.idle = True
                    await asyncio.sleep(POLL_S)
            except OSError as error:
                self.trouble(name, str(error))
                self._state.idle = True
                await asyncio.sleep(RETRY_S)
