"""Who this agent is to an OSSEC manager: a line of client.keys, got by enrolling or brought by a person."""

import socket
import ssl
from pathlib import Path

from hids.adapters.files import private_folder, read_private, write_atomically
from hids.core.wire.ossec.enrol import read_answer, request
from hids.core.wire.ossec.keys import ClientKey, import_exported, read_keys
from hids.errors import ConfigError, JoinRefused, ManagerUnreachable, RemoteProtocolError, StoreError

KEY_FILE = "client.keys"
TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 8 * 1024


def read_key(folder: Path) -> ClientKey | None:
    """The key in the agent's state folder; None when there is none.

    Raises:
        StoreError: unreadable, open to others, or no key.
    """
    path = folder / KEY_FILE
    data = read_private(path)
    if data is None:
        return None
    found = read_keys(data.decode("utf-8", "replace"))
    if not found.keys:
        reasons = [line.reason for line in found.bad] + [line.reason for line in found.skipped]
        reason = reasons[0] if reasons else "it is empty"
        raise StoreError(f"{path}: expected one line, ID NAME IP KEY: {reason}; enrol again or import the key again")
    return found.keys[0]


def write_key(folder: Path, key: ClientKey) -> None:
    """Store the key, mode 0600.

    Raises:
        StoreError: the disk or the folder does not take it.
    """
    private_folder(folder)
    write_atomically(folder / KEY_FILE, f"{key}\n".encode())


def import_key(folder: Path, exported: str) -> ClientKey:
    """Take a key as `manage_agents -e` on the manager prints it.

    Raises:
        ConfigError: it is none.
        StoreError: it cannot be stored.
    """
    try:
        key = import_exported(exported)
    except RemoteProtocolError as error:
        raise ConfigError(f"the key cannot be used: {error}") from error
    write_key(folder, key)
    return key


def enrol(host: str, port: int, *, name: str, password: str, ca: Path | None, folder: Path) -> ClientKey:
    """Ask an OSSEC manager's authd for a key, and store it.

    Args:
        host: the manager.
        port: mostly 1515.
        name: what this agent wants to be called; the manager may put a number behind it.
        password: of the manager's authd.pass; empty for none.
        ca: certificates (PEM) that the manager's is checked with; None: whoever answers there is believed.
        folder: the agent's state folder.

    Raises:
        ConfigError: the CA file cannot be used.
        JoinRefused: the manager says no, or is not who it should be.
        ManagerUnreachable: nobody answers there.
        StoreError: the key cannot be stored.
    """
    context = _context(ca)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            tls.sendall(request(name, password))
            key = read_answer(_answer(tls))
    except ssl.SSLCertVerificationError as error:
        raise JoinRefused(f"{host}:{port}: not the manager that is expected: {error.verify_message}") from error
    except RemoteProtocolError as error:
        raise JoinRefused(f"{host}:{port}: {error}") from error
    except OSError as error:
        raise ManagerUnreachable(f"{host}:{port}: no enrolment there: {error.strerror or error}") from error
    write_key(folder, key)
    return key


def _context(ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # OSSEC's server speaks no other
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        context.load_verify_locations(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca}: expected certificates in PEM: {error}") from error
    return context


def _answer(tls: ssl.SSLSocket) -> bytes:
    answer = b""
    while len(answer) < MAX_ANSWER_BYTES:
        part = tls.recv(MAX_ANSWER_BYTES)
        if not part:
            break
        answer += part
        if b"OSSEC K:'" in answer and answer.count(b"'") > 1:
            break
    return answer
