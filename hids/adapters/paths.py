"""Where the manager keeps what: settled places as root or as a service, XDG folders otherwise, or all in --state."""

import hashlib
import os
import socket
import stat
import sysconfig
import tempfile
from pathlib import Path

import msgspec

import hids
from hids.errors import ConfigError

SOCKET_PATH_MAX = 100
"""A unix socket's path may have 107 bytes (sun_path); some systems take fewer."""


class ManagerPaths(msgspec.Struct, frozen=True):
    """Every file of the manager, below three folders."""

    lib: Path
    logs: Path
    run: Path
    config: Path

    @classmethod
    def of(cls, state: Path | None) -> "ManagerPaths":
        """The places for `--state`, or the default ones of this user."""
        if state is not None:
            folder = state.absolute()
            return cls(lib=folder, logs=folder / "logs", run=folder / "run", config=folder / "manager.toml")
        if os.geteuid() == 0 or "STATE_DIRECTORY" in os.environ:  # systemd has made the settled places ours
            return cls(
                lib=Path("/var/lib/hids"),
                logs=Path("/var/log/hids"),
                run=Path("/run/hids"),
                config=Path("/etc/hids/manager.toml"),
            )
        home = Path.home()
        lib = Path(os.environ.get("XDG_STATE_HOME") or home / ".local/state") / "hids"
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "hids"
        return cls(lib=lib, logs=lib / "logs", run=lib / "run", config=config / "manager.toml")

    def make(self) -> None:
        """Make the folders, closed to others."""
        for folder in (self.lib, self.logs, self.alerts, self.run, self.tables, self.stats, self.authority):
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)

    @property
    def ledger(self) -> Path:
        """What is committed."""
        return self.lib / "ledger.db"

    @property
    def search(self) -> Path:
        """The index of alerts; can be rebuilt."""
        return self.lib / "search.db"

    @property
    def policies(self) -> Path:
        """What came of policies on each host."""
        return self.lib / "policy.db"

    @property
    def agents(self) -> Path:
        """Who is an agent."""
        return self.lib / "agents.db"

    @property
    def legacy_journal(self) -> Path:
        """What OSSEC's and Wazuh's agents sent, until it is committed."""
        return self.lib / "legacy"

    @property
    def agentless(self) -> Path:
        """What hosts without an agent showed last."""
        return self.lib / "agentless"

    @property
    def shared(self) -> Path:
        """Versions of what the manager sets for its agents."""
        return self.lib / "shared"

    @property
    def syslog(self) -> Path:
        """Lines of syslog that are not committed yet."""
        return self.lib / "syslog"

    @property
    def evidence(self) -> Path:
        """The key that signs chain values, and the signed ones."""
        return self.lib / "evidence"

    @property
    def authority(self) -> Path:
        """The manager's CA."""
        return self.lib / "ca"

    @property
    def tables(self) -> Path:
        """Rule tables, from the nursery to the lane."""
        return self.lib / "tables"

    @property
    def stats(self) -> Path:
        """What each worker sampled of rules and decoders."""
        return self.run / "stats"

    @property
    def alerts(self) -> Path:
        """alerts.json and alerts.log, where Wazuh's and OSSEC's users look for them."""
        return self.logs / "alerts"

    @property
    def pid(self) -> Path:
        """Held locked by the running manager."""
        return self.run / "hids-manager.pid"

    @property
    def last_words(self) -> Path:
        """How the manager ended."""
        return self.lib / "last_words"

    @property
    def ports(self) -> Path:
        """Which ports the running manager listens on."""
        return self.run / "ports.json"

    @property
    def control(self) -> Path:
        """The control socket; elsewhere when the path would be too long for one."""
        path = self.run / "control.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"hids-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
        if owner.st_uid != os.geteuid() or not stat.S_ISDIR(owner.st_mode) or owner.st_mode & 0o077:
            raise ConfigError(f"{folder}: not this user's own folder; remove it, or use a shorter --state")
        return folder / f"{name}.sock"


def shipped(kind: str) -> Path:
    """Folder of what comes with the product: "rules" or "conf". Beside the package in a checkout, else below share/."""
    beside = Path(hids.__file__).resolve().parent.parent
    if (beside / "pyproject.toml").is_file():
        return beside / kind
    return Path(sysconfig.get_path("data")) / "share" / "hids" / kind


def host_name() -> str:
    """This machine's short name, for alerts."""
    return socket.gethostname().split(".")[0] or "manager"
