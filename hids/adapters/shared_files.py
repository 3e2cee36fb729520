"""The files that old agents get: one folder, and a folder in it for each group that gets others besides.

<shared>/agent.conf, ar.conf, ...     for all
<shared>/<group>/...                  for agents of that group, over a file of the same name for all
"""

from pathlib import Path

import structlog

from hids.core.wire.ossec.files import MAX_FILE_BYTES, is_plain, md5_of, merge
from hids.errors import ConfigError
from hids.ports import Clock

log = structlog.get_logger()

LOOK_S = 10.0
"""How old what is known of the folder may be."""
RESPONSES = "ar.conf"
RESTART_COMMANDS = b"".join(
    b"%s0 - %s - 0\n" % pair
    for pair in (
        (b"restart-ossec", b"restart-ossec.sh"),
        (b"restart-ossec", b"restart-ossec.cmd"),
        (b"restart-wazuh", b"restart-ossec.sh"),
        (b"restart-wazuh", b"restart-ossec.cmd"),
        (b"restart-wazuh", b"restart-wazuh"),
        (b"restart-wazuh", b"restart-wazuh.exe"),
    )
)
"""An agent runs nothing that its ar.conf does not name, not even its own restart."""


class SharedFiles:
    """Merged files by group, made anew when something changes."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._merged: dict[str, tuple[str, bytes]] = {}
        self._state: object = None
        self._looked_s = float("-inf")

    def __call__(self, group: str) -> tuple[str, bytes]:
        """(MD5, content) of merged.mg for an agent of this group; empty when there is nothing to send."""
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            state = self._look()
            if state != self._state:
                self._state = state
                self._merged.clear()
        if group not in self._merged:
            self._merged[group] = self._make(group)
        return self._merged[group]

    def _look(self) -> list[tuple[str, int, int]]:
        try:
            paths = sorted(path for path in self._folder.rglob("*") if path.is_file())
            return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
        except OSError as error:
            log.warning("shared files of old agents cannot be read", folder=str(self._folder), reason=error.strerror)
            return []

    def _make(self, group: str) -> tuple[str, bytes]:
        try:
            found = self._read(self._folder)
            if group and is_plain(group):
                found |= self._read(self._folder / group)
            found[RESPONSES] = RESTART_COMMANDS + found.get(RESPONSES, b"")
            merged = merge(found)
        except (OSError, ConfigError) as error:
            log.error("shared files of old agents are not sent", group=group, reason=str(error))  # noqa: TRY400
            return "", b""
        return md5_of(merged), merged

    @staticmethod
    def _read(folder: Path) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file() and path.name != "merged.mg" and not path.name.startswith("."):
                if path.stat().st_size > MAX_FILE_BYTES:
                    raise ConfigError(f"{path}: more than {MAX_FILE_BYTES} bytes")
                found[path.name] = path.read_bytes().replace(b"\r\n", b"\n")
        return found
