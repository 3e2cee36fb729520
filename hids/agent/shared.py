"""The manager's part of the configuration, as this agent keeps it in its state folder.

It is kept, so that an agent that cannot reach its manager goes on as it was told. What is in agent.toml comes first: a source that
both name is the agent's own, and `[central]` says what the manager may set at all.
"""

import hashlib
from pathlib import Path
from typing import Self

import msgspec

from hids.adapters.files import read_private, write_atomically
from hids.core.collect.config import MAX_CONFIG_BYTES, AgentConfig, SharedConfig, merged, refusal_of
from hids.errors import ConfigError, StoreError
from hids.messages.agent_link import Configuration

FILE = "shared.msgpack"


class SharedFile(msgspec.Struct, frozen=True):
    """One version. Without a version: nothing is set."""

    version: str = ""
    body: bytes = b""

    @classmethod
    def of(cls, message: Configuration) -> Self:
        """What a manager sent.

        Raises:
            ConfigError: it is damaged, or not understood.
        """
        if len(message.body) > MAX_CONFIG_BYTES:
            raise ConfigError(f"expected at most {MAX_CONFIG_BYTES} bytes of configuration, got {len(message.body)}")
        shared = cls(message.version, message.body)
        if message.version and hashlib.sha256(message.body).hexdigest()[:16] != message.version:
            raise ConfigError("the configuration is not the one that its version names")
        shared.config()
        return shared

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What is kept in `folder`; a damaged file is as none, and the manager sends it again."""
        try:
            data = read_private(folder / FILE)
            shared = msgspec.msgpack.decode(data, type=cls) if data is not None else cls()
            shared.config()
        except (StoreError, ConfigError, msgspec.MsgspecError):
            return cls()
        return shared

    def write(self, folder: Path) -> None:
        """Keep it.

        Raises:
            StoreError: it cannot be written; the old one stays.
        """
        write_atomically(folder / FILE, msgspec.msgpack.encode(self))

    def config(self) -> SharedConfig:
        """What it says.

        Raises:
            ConfigError: it is not understood.
        """
        if not self.version:
            return SharedConfig()
        try:
            return msgspec.msgpack.decode(self.body, type=SharedConfig)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"the configuration is not understood: {error}; is this agent older than it?") from error

    def added_to(self, own: AgentConfig) -> tuple[AgentConfig, str]:
        """What runs: the agent's own configuration with this added, and why it is not added; empty when it is."""
        shared = self.config()
        problem = refusal_of(own, shared) if self.version else ""
        return (own, problem) if problem else (merged(own, shared), "")
