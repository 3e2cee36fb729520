"""What a manager may ask of an agent, as a session with it sees the agent (hids.agent.run, hids.agent.responses)."""

from collections.abc import Mapping
from typing import Protocol

from hids.messages.agent_link import AskDigests, Configuration, Rescan
from hids.messages.response import Noted, Respond, Responded


class Upkeep(Protocol):
    """What a manager may ask of the agent (hids.agent.run)."""

    @property
    def labels(self) -> dict[str, str]:
        """What this host is."""
        ...

    @property
    def shared_version(self) -> str:
        """Version of the manager's configuration that runs; empty for none."""
        ...

    def configure(self, message: Configuration) -> str:
        """Take the manager's configuration whole, or say why not."""
        ...

    def restart(self, by: str) -> None:
        """Start anew."""
        ...

    def ask_syscheck(self, order: AskDigests | Rescan) -> None:
        """Have syscheck tell what it remembers, or look anew."""
        ...


class Responses(Protocol):
    """Who carries out the manager's orders (hids.agent.run); none where responses are off."""

    def obey(self, message: Respond, offset_ms: int) -> None:
        """Carry it out; `offset_ms` added to the manager's times gives ours."""
        ...

    def noted(self, message: Noted) -> None:
        """The manager knows an outcome."""
        ...

    @property
    def outcomes(self) -> Mapping[str, Responded]:
        """What the manager must hear, by order."""
        ...
