"""Enrolment on port 1515: one request, one answer, over TLS.

[OSSEC PASS: password SP] OSSEC A:'name' [ V:'version'] [ G:'groups'] [ IP:'address'|'src'] [ K:'hash'] LF
OSSEC K:'ID NAME IP KEY'      or      ERROR: reason
"""

import hmac
import re

import msgspec

from hids.core.wire.ossec.keys import ClientKey, canonical_ip, parse_key
from hids.errors import RemoteProtocolError

MAX_REQUEST_BYTES = 69_632
"""Wazuh's limit: 128 group names of 255 characters are long."""
OLD_START = b"OSSEC "
"""A request begins so; no frame of ours does."""
MAX_GROUPS = 128

_PASSWORD = re.compile(rb"OSSEC PASS: (.{0,256}?)[ \r\n]+(?=OSSEC A:)", re.DOTALL)
"""agent-auth sends the newline of its password file along, before the blank or instead of it."""
_REQUEST = re.compile(
    rb"OSSEC A:'([^'\r\n]{0,256})'"
    rb"(?: V:'([^'\r\n]{0,64})')?"
    rb"(?: G:'([^'\r\n]{0,65536})')?"
    rb"(?: IP:'([^'\r\n]{0,64})')?"
    rb"(?: K:'([0-9a-fA-F]{40})')?"
)
_WHOLE = re.compile(rb"OSSEC A:'[^'\r\n]{0,256}'[^\r\n]{0,69632}\r?\n", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{1,127}")
_GROUP = re.compile(r"[A-Za-z0-9._-]{1,255}")
_ANSWER = re.compile(rb"OSSEC K:'([^'\n]{1,512})'")
_ERROR = re.compile(rb"ERROR: ([^\n]{0,256})")
_CUT_PASSWORD = 32
"""Bytes that agent-auth reads of a password file."""


class EnrolRequest(msgspec.Struct, frozen=True):
    """What an agent asks for."""

    name: str
    password: str | None = None
    version: str = ""
    groups: tuple[str, ...] = ()
    ip: str = ""
    """Its address, "src" for the connection's, or empty: any."""
    known_key: str = ""
    """Hash of the key that it has (hids.core.wire.ossec.keys.known_key_hash)."""


def is_whole(received: bytes | bytearray) -> bool:
    """Whether the request is complete."""
    return bool(_WHOLE.search(received))


def read_request(received: bytes) -> EnrolRequest:
    """Read a request.

    Raises:
        RemoteProtocolError: malformed; the text is what an agent's log is to show.
    """
    password = _PASSWORD.match(received)
    request = _REQUEST.match(received, password.end() if password else 0)
    if request is None:
        raise RemoteProtocolError("Invalid request for new agent")
    name, version, groups, ip, known = ((part or b"").decode("ascii", "replace") for part in request.groups())
    if not _NAME.fullmatch(name):
        raise RemoteProtocolError(f"Invalid agent name: {_shown(name)}")
    named = tuple(groups.split(",")) if groups else ()
    if len(named) > MAX_GROUPS:
        raise RemoteProtocolError(f"Maximum multigroup reached: Limit is {MAX_GROUPS}")
    for group in named:
        if not _GROUP.fullmatch(group):
            raise RemoteProtocolError(f"Invalid group name: {_shown(group)}")
    if ip and ip != "src":
        try:
            ip = canonical_ip(ip)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"Invalid IP: {_shown(ip)}") from error
    said = password[1].decode("utf-8", "replace") if password else None
    return EnrolRequest(name, said, version, named, ip, known.lower())


def is_password(wanted: str, request: EnrolRequest, *, may_be_cut: bool = False) -> bool:
    """Whether the request has the password; compared in constant time.

    Args:
        wanted: the password.
        request: what came.
        may_be_cut: also take its first 32 bytes, as agent-auth reads no more of a file.
    """
    said = (request.password or "").encode()
    right = hmac.compare_digest(said, wanted.encode())
    cut = hmac.compare_digest(said, wanted.encode()[:_CUT_PASSWORD])
    return right or (may_be_cut and cut)


def answer(key: ClientKey) -> bytes:
    """The answer that gives an agent its key. Both products' agents read it."""
    return f"OSSEC K:'{key}'\n\n".encode()


def refusal(reason: str) -> bytes:
    """The answer that gives none."""
    return f"ERROR: {_shown(reason)}. Unable to add agent\n\n".encode()


def request(name: str, password: str = "") -> bytes:
    """What our agent asks of an OSSEC manager, with the password's line end stripped."""
    secret = password.strip("\r\n")
    return (f"OSSEC PASS: {secret} " if secret else "").encode() + f"OSSEC A:'{name}'\n".encode()


def read_answer(received: bytes) -> ClientKey:
    """The key in a manager's answer; its name may differ from the one that was asked for.

    Raises:
        RemoteProtocolError: it refuses, in its words, or the answer is none.
    """
    given = _ANSWER.search(received)
    if given is not None:
        return parse_key(given[1].decode("ascii", "replace"))
    error = _ERROR.search(received)
    if error is not None:
        raise RemoteProtocolError(f"the manager refuses: {_shown(error[1].decode(errors='replace'))}")
    raise RemoteProtocolError("the manager closed without an answer; is the password right?")


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:200])
