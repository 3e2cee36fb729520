"""What the control socket answers about responses: run, undo, undo everything."""

from collections.abc import Callable
from typing import Any

import msgspec

from hids.errors import ConfigError, HidsError
from hids.manager.topology import Topology
from hids.messages.responder import ResponseAsk


class ResponseAnswers:
    """On main's loop."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.commands: dict[str, Callable[[dict[str, Any], str], Any]] = {
            "response_run": self._run,
            "response_undo": self._undo,
            "response_undo_all": self._undo_all,
        }
        """Name -> what answers (arguments, who asks); raises HidsError with words for a person."""

    async def _run(self, arguments: dict[str, Any], who: str) -> Any:
        return await self._ask({**arguments, "what": "run"}, who)

    async def _undo(self, arguments: dict[str, Any], who: str) -> Any:
        return await self._ask({**arguments, "what": "undo"}, who)

    async def _undo_all(self, arguments: dict[str, Any], who: str) -> Any:
        return await self._ask({**arguments, "what": "undo_all"}, who)

    async def _ask(self, arguments: dict[str, Any], who: str) -> Any:
        tree = self._topology.responses
        if tree is None:
            raise HidsError("this manager runs no responses: manager.toml has no [[command]] and no [[response]]")
        try:
            ask = msgspec.convert({**arguments, "number": 0, "by": who}, ResponseAsk)
        except msgspec.ValidationError as error:
            raise ConfigError(f"not an order: {error}") from error
        answer = await tree.ask(ask)
        return {"orders": list(answer.orders)}
