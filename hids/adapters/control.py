"""The control socket: `hidsctl` asks, main answers. A unix socket; one JSON object a line each way.

Who may ask: root, the manager's own user, and members of the socket's group by file permission (mode 0660).
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hids.errors import ConfigError, HidsError, ManagerUnreachable

log = structlog.get_logger()

MAX_REQUEST_BYTES = 12 * 1024 * 1024
"""The files of agents' configuration come this way; only root, the manager's user and its group may ask at all."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
REQUEST_S = 10.0
ANSWER_S = 30.0
_CREDENTIALS = struct.Struct("3i")


class _Request(msgspec.Struct, frozen=True):
    command: str
    arguments: dict[str, Any] = {}


Handler = Callable[[str, dict[str, Any], str], Awaitable[Any]]
"""(command, arguments, who asks) -> what to answer; raises HidsError with words for a person."""


class ControlSocket:
    """Serves requests on the running loop."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._sock = _bind(path)
        self._server: asyncio.Server | None = None
        self._starting = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, sock=self._sock, limit=MAX_REQUEST_BYTES)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(REQUEST_S):
                line = await reader.readline()
            answer = await self._answer(line, _who(writer))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (TimeoutError, OSError, ValueError) as error:
            log.debug("control connection ended", reason=str(error))
        finally:
            writer.close()

    async def _answer(self, line: bytes, who: str) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=_Request)
        except (msgspec.MsgspecError, RecursionError):
            return {"error": 'expected one line {"command": ..., "arguments": {...}}'}
        try:
            return {"answer": await self._handler(request.command, request.arguments, who)}
        except HidsError as error:
            return {"error": str(error)}

    def close(self) -> None:
        """Stop and remove the socket's file."""
        self._starting.cancel()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        self._sock.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def ask(path: Path, command: str, **arguments: Any) -> Any:
    """Ask a running manager, as `hidsctl` does.

    Raises:
        ManagerUnreachable: none listens there, or this user may not.
        HidsError: its refusal, in words for a person.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_S)
        try:
            sock.connect(str(path))
            sock.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
            data = _read_line(sock)
        except PermissionError as error:
            raise ManagerUnreachable(f"{path}: not permitted; use root or a member of the socket's group") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ManagerUnreachable(
                f"no manager runs on {path}; start it with `hids-manager run`, or name its folder with --state"
            ) from error
        except OSError as error:
            raise ManagerUnreachable(f"{path}: the manager does not answer: {error}") from error
    answer = json.loads(data)
    if "error" in answer:
        raise HidsError(answer["error"])
    return answer["answer"]


def _read_line(sock: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        more = sock.recv(1 << 16)
        if not more:
            raise ConnectionResetError("it closed before it answered")
        data += more
        if len(data) > MAX_ANSWER_BYTES:
            raise OSError(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(data)


def _bind(path: Path) -> socket.socket:
    """Take the path, over the file that a killed manager left, but not from a living one."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    else:
        sock.close()
        raise ConfigError(f"{path}: another manager runs on this state folder; stop it or use another --state")
    try:
        sock.bind(str(path))
        sock.listen()  # from now on whoever asks waits, and another manager sees that this one lives
    except OSError as error:
        sock.close()
        raise ConfigError(f"{path}: cannot make the control socket: {error.strerror or error}") from error
    path.chmod(0o660)
    sock.setblocking(False)
    return sock


def _who(writer: asyncio.StreamWriter) -> str:
    """Who is at the other end, for the log."""
    sock = writer.get_extra_info("socket")
    if not hasattr(socket, "SO_PEERCRED"):
        return f"uid {os.getuid()}"
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    try:
        import pwd  # noqa: PLC0415 - absent outside POSIX

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"uid {uid}"
