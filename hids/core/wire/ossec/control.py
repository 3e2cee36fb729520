"""Control messages: what begins with #!- in either direction, and the keep-alive in which an agent says who it is."""

import re
from typing import Literal

import msgspec

from hids.errors import RemoteProtocolError

MARK = b"#!-"
ACK = MARK + b"agent ack "
"""The final space is part of it: agents compare the whole text."""
STARTUP = MARK + b"agent startup "
SHUTDOWN = MARK + b"agent shutdown "
RECONNECT = MARK + b"force_reconnect"
SYSCHECK_RESTART = MARK + b"syscheck restart"
EXECD = MARK + b"execd "
ERROR = MARK + b"err "

MAX_TEXT = 200
"""Characters kept of what an agent says about itself."""
MAX_LABELS = 64
MAX_KEEPALIVE_BYTES = 1_023
"""What an OSSEC manager reads of one."""

Product = Literal["", "ossec", "wazuh"]

_STARTUP = re.compile(rb"#!-agent startup(?: (\{.*\})?)?", re.DOTALL)
_REQUEST = re.compile(rb"#!-req ([!-~]{1,32}) ", re.DOTALL)
_SOFTWARE = re.compile(r"(OSSEC HIDS|Wazuh) v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_SUM = re.compile(r"[0-9a-f]{32}")
_BRACKETS = re.compile(r"\[(.*)\]")


class Startup(msgspec.Struct, frozen=True):
    """The agent has started, or has lost us, and waits for an acknowledgement before all else."""

    version: str = ""
    """As Wazuh from 4.6 on says it, e.g. "v4.14.7"."""


class Shutdown(msgspec.Struct, frozen=True):
    """The agent ends on purpose (Wazuh). Not acknowledged."""


class Request(msgspec.Struct, frozen=True):
    """An answer in Wazuh's request channel. Not acknowledged."""

    token: str
    answer: bytes


class KeepAlive(msgspec.Struct, frozen=True):
    """Who the agent is and which shared files it has."""

    system: str
    """`uname` in OSSEC's form or Wazuh's."""
    software: str
    """E.g. "OSSEC HIDS v4.2.0", "Wazuh v4.14.7"."""
    merged: str
    """MD5 of its merged.mg; "x" when it has none, "" when it does not say."""
    labels: tuple[tuple[str, str], ...] = ()
    address: str = ""
    """Its own address on the socket to us (Wazuh)."""

    @property
    def product(self) -> Product:
        """Whose agent it is."""
        match = _SOFTWARE.match(self.software)
        return "" if match is None else "ossec" if match[1] == "OSSEC HIDS" else "wazuh"

    @property
    def version(self) -> tuple[int, int, int]:
        """(0, 0, 0) when it does not say."""
        match = _SOFTWARE.match(self.software)
        return (0, 0, 0) if match is None else (int(match[2]), int(match[3]), int(match[4] or 0))

    @property
    def os(self) -> str:
        """The operating system in few words."""
        brackets = _BRACKETS.search(self.system)
        return (brackets[1].partition("|")[0] if brackets else " ".join(self.system.split()[:3]))[:MAX_TEXT]


FromAgent = Startup | Shutdown | Request | KeepAlive


def read_control(payload: bytes) -> FromAgent:
    """What a control message of an agent says. What is none of the others is a keep-alive, as upstream has it."""
    startup = _STARTUP.fullmatch(payload)
    if startup is not None:
        return Startup(_version(startup[1] or b""))
    if payload.startswith(SHUTDOWN.rstrip()):
        return Shutdown()
    request = _REQUEST.match(payload)
    if request is not None:
        return Request(request[1].decode(), payload[request.end() :])
    return _read_keepalive(payload[len(MARK) :])


def _version(said: bytes) -> str:
    try:
        return _clean(msgspec.json.decode(said, type=dict[str, str]).get("version", ""))
    except (msgspec.MsgspecError, RecursionError):
        return ""


def _read_keepalive(text: bytes) -> KeepAlive:
    first, *lines = text.decode(errors="replace").split("\n")
    system, _, software = first.partition(" - ")
    labels: list[tuple[str, str]] = []
    merged = address = ""
    for line in lines[:-1]:  # behind the last line end older agents put random text
        if line[:1] in ('"', "!", "#"):
            name, value = _label(line)
            if name == "_agent_ip":
                address = value
            elif name and len(labels) < MAX_LABELS:
                labels.append((name, value))
        elif line.endswith(" merged.mg") and not merged:
            merged = line.partition(" ")[0]
    return KeepAlive(
        system=_clean(system),
        software=_clean(software.partition(" / ")[0]),
        merged=merged if _SUM.fullmatch(merged) or merged == "x" else "",
        labels=tuple(labels),
        address=address,
    )


def _label(line: str) -> tuple[str, str]:
    name, quote, value = line.lstrip("!#").removeprefix('"').partition('":')
    return (_clean(name), _clean(value)) if quote else ("", "")


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT])


def keepalive(system: str, software: str, merged: str, config_sum: str = "") -> bytes:
    """What an agent sends to an OSSEC manager.

    Args:
        system: `uname -snrvm`.
        software: name and version.
        merged: MD5 of the merged.mg that it has; "" for none.
        config_sum: MD5 of the agent.conf that it has, if any.
    """
    identity = f"{system} - {software}" + (f" / {config_sum}" if config_sum else "")
    rest = f"\n{merged or 'x'} merged.mg\n\n"
    room = MAX_KEEPALIVE_BYTES - len(MARK) - len(rest)
    return MARK + identity.replace("\n", " ").encode()[:room] + rest.encode()


def read_from_manager(payload: bytes) -> tuple[str, bytes]:
    """A control message of a manager as (what, the rest).

    Raises:
        RemoteProtocolError: it is no control message.
    """
    if not payload.startswith(MARK):
        raise RemoteProtocolError(f"expected a control message, got {payload[:20]!r}")
    for what, start in _FROM_MANAGER:
        if payload.startswith(start):
            return what, payload[len(start) :]
    return "unknown", payload[len(MARK) :]


_FROM_MANAGER = (
    ("ack", ACK),
    ("up", MARK + b"up file "),
    ("close", MARK + b"close file"),
    ("execd", EXECD),
    ("syscheck", SYSCHECK_RESTART),
    ("reconnect", RECONNECT),
    ("error", ERROR),
)
