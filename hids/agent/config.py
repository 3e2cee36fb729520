"""agent.toml on disk. What it may say is in hids.core.collect.config."""

from pathlib import Path

from hids.core.collect.config import (
    MAX_CONFIG_BYTES,
    MAX_SOURCES,
    AgentConfig,
    SilenceConfig,
    address_of,
    has_glob,
    parse,
)
from hids.core.collect.policy import PolicyConfig
from hids.core.collect.registry import RegistryConfig
from hids.core.collect.rootcheck import RootcheckConfig
from hids.core.collect.source import SourceConfig
from hids.core.collect.syscheck import DirectoryConfig, SyscheckConfig
from hids.errors import ConfigError

__all__ = [
    "MAX_SOURCES",
    "AgentConfig",
    "DirectoryConfig",
    "PolicyConfig",
    "RegistryConfig",
    "RootcheckConfig",
    "SilenceConfig",
    "SourceConfig",
    "SyscheckConfig",
    "address_of",
    "has_glob",
    "load",
]


def load(path: Path) -> AgentConfig:
    """Read agent.toml.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key, or a value that makes no sense; says where and what to do.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; this is not an agent.toml")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}; name it with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return parse(text, str(path))
