"""agent.toml: what a person sets. Every key has a default; an unknown key is an error."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli

from hids.errors import ConfigError

MAX_SOURCES = 256
MAX_CONFIG_BYTES = 1024 * 1024
MAX_PORT = 65_535
_GLOB = re.compile(r"[*?\[]")


class ManagerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[manager]`."""

    address: str = ""
    """host:port of the session port; empty: as joining found it."""
    protocol: Literal["hids", "ossec"] = "hids"
    """"ossec": the manager is OSSEC's own, reached over UDP; `address` is needed then."""
    crypto: Literal["aes", "blowfish"] = "aes"
    """For "ossec": what that manager takes. AES since 4.0."""
    notify_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 600.0
    """For "ossec": seconds between keep-alives. The manager's patience is 1,830 s."""


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[source]]`."""

    path: str
    """A file or glob, or "journald"."""
    format: Literal["syslog", "journal"] = "syslog"
    """"syslog": one line, one event. "journal": the systemd journal."""
    from_: Literal["end", "start"] = msgspec.field(default="end", name="from")
    """Where to begin with what was there before the agent first saw this source."""


class SyscheckConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[syscheck]`."""

    directories: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    """Globs over whole paths; `*` also matches `/`."""
    scan_interval_s: int = 43_200
    realtime: bool = True
    max_file_bytes: int = 1024**3
    """Larger files are watched, but not hashed."""


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[spool]`."""

    max_bytes: int = 512 * 1024**2


class SilenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[silence]`."""

    canary_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 60
    """0: no canary."""
    sources: bool = True


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    exclude: tuple[str, ...] = ()
    """Folders that are neither read nor watched, besides the agent's own."""
    manager: ManagerConfig = ManagerConfig()
    source: tuple[SourceConfig, ...] = ()
    syscheck: SyscheckConfig = SyscheckConfig()
    spool: SpoolConfig = SpoolConfig()
    silence: SilenceConfig = SilenceConfig()


def load(path: Path) -> AgentConfig:
    """Read agent.toml.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key, or a value that makes no sense; says where and what to do.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; this is not an agent.toml")
        tree: dict[str, Any] = tomli.loads(path.read_text(encoding="utf-8"))
        config = msgspec.convert(tree, AgentConfig)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}; name it with --config") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}; see conf/agent.toml for all keys") from error
    problem = _problem(config)
    if problem:
        raise ConfigError(f"{path}: {problem}")
    return config


def has_glob(text: str) -> bool:
    """Tell whether a path is a pattern."""
    return _GLOB.search(text) is not None


def address_of(text: str) -> tuple[str, int]:
    """Split "host:port" or "[v6]:port".

    Raises:
        ConfigError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # an IPv6 address without brackets could end in anything
    if not (host and colon and port.isdecimal() and port.isascii() and 0 < int(port) <= MAX_PORT):
        raise ConfigError(f"expected HOST:PORT, got {text!r}; for IPv6 write [::1]:1514")
    return host, int(port)


def _problem(config: AgentConfig) -> str:
    """The first thing that the types cannot say, or empty."""
    if config.manager.address:
        try:
            address_of(config.manager.address)
        except ConfigError as error:
            return f"[manager] address: {error}"
    elif config.manager.protocol == "ossec":
        return '[manager] address: needed with protocol = "ossec", such as "manager.example.org:1514"'
    if len(config.source) > MAX_SOURCES:
        return f"[[source]]: at most {MAX_SOURCES}, got {len(config.source)}; use globs"
    seen: set[str] = set()
    for number, source in enumerate(config.source, start=1):
        problem = _source_problem(source, seen)
        if problem:
            return f"[[source]] number {number}: {problem}"
        seen.add(source.path)
    return _syscheck_problem(config.syscheck) or (
        "[spool] max_bytes: at least 1048576 (1 MiB)" if config.spool.max_bytes < 1024**2 else ""
    )


def _source_problem(source: SourceConfig, seen: set[str]) -> str:
    if source.path in seen:
        return f"path {source.path!r} is there twice"
    if (source.path == "journald") != (source.format == "journal"):
        return 'path "journald" and format "journal" go together'
    if source.format == "syslog" and not source.path.startswith("/"):
        return f"path must be absolute, got {source.path!r}"
    return ""


def _syscheck_problem(syscheck: SyscheckConfig) -> str:
    for directory in syscheck.directories:
        if not directory.startswith("/") or has_glob(directory):
            return f"[syscheck] directories: expected absolute paths without patterns, got {directory!r}"
    if syscheck.scan_interval_s < 1:
        return f"[syscheck] scan_interval_s: at least 1, got {syscheck.scan_interval_s}"
    if syscheck.max_file_bytes < 0:
        return f"[syscheck] max_file_bytes: 0 or more, got {syscheck.max_file_bytes}"
    return ""
