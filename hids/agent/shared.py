"""The manager's part of the configuration, as this agent keeps it in its state folder.

It is kept, so that an agent that cannot reach its manager goes on as it was told. What is in agent.toml comes first: a source that
both name is the agent's own, and `[central]` says what the manager may set at all.
"""

import hashlib
from pathlib import Path
from typing import Self

import msgspec

from hids.adapters.files import read_private, write_atomically
from hids.adapters.signing import CONFIGURATION_URI, problem_of
from hids.core.collect.config import MAX_CONFIG_BYTES, AgentConfig, SentConfig, merged, refusal_of, to_sign
from hids.core.collect.policy import SentPolicy
from hids.errors import ConfigError, StoreError
from hids.messages.agent_link import Configuration

FILE = "shared.msgpack"


class SharedFile(msgspec.Struct, frozen=True):
    """One version. Without a version: nothing is set."""

    version: str = ""
    body: bytes = b""
    signature: bytes = b""
    certificate: bytes = b""
    """PEM, of the key that signed the body."""

    @classmethod
    def of(cls, message: Configuration) -> Self:
        """What a manager sent.

        Raises:
            ConfigError: it is damaged, or not understood.
        """
        if len(message.body) > MAX_CONFIG_BYTES:
            raise ConfigError(f"expected at most {MAX_CONFIG_BYTES} bytes of configuration, got {len(message.body)}")
        shared = cls(message.version, message.body, message.signature, message.certificate)
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

    def config(self) -> SentConfig:
        """What it says.

        Raises:
            ConfigError: it is not understood.
        """
        if not self.version:
            return SentConfig()
        try:
            return msgspec.msgpack.decode(self.body, type=SentConfig)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"the configuration is not understood: {error}; is this agent older than it?") from error

    def policies(self, own: AgentConfig, ca_pem: bytes) -> "SentPolicies":
        """The policies in it, and whether they may run commands on this host.

        Args:
            own: the agent's own file, which says what the manager may have it do.
            ca_pem: of the CA that the agent has pinned.
        """
        config = self.config()
        if not config.policies or refusal_of(own, config):
            return NO_POLICIES
        problem = problem_of(to_sign(self.body), self.signature, self.certificate, ca_pem=ca_pem, uri=CONFIGURATION_URI)
        refusal = ""
        if problem:
            refusal = f"the manager did not sign this policy: {problem}"
        elif not own.central.accept_commands:
            refusal = (
                "this agent runs no commands for the manager; set [central] accept_commands = true in its agent.toml"
            )
        return SentPolicies(config.policies, "the manager, not signed" if problem else "the manager, signed", refusal)

    def added_to(self, own: AgentConfig) -> tuple[AgentConfig, str]:
        """What runs: the agent's own configuration with this added, and why it is not added; empty when it is."""
        shared = self.config()
        problem = refusal_of(own, shared) if self.version else ""
        return (own, problem) if problem else (merged(own, shared), "")


class SentPolicies(msgspec.Struct, frozen=True):
    """Policies that the manager sent."""

    policies: tuple[SentPolicy, ...] = ()
    origin: str = ""
    """Where they come from, for people."""
    refusal: str = ""
    """Why they run no commands; empty: they may."""


NO_POLICIES = SentPolicies()
