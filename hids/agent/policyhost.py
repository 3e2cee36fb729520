"""This host, as policies look at it (hids.core.policy.host). Blocking; for the process that evaluates a policy.

Bounds   a file of MAX_FILE bytes, a directory of MAX_ENTRIES, MAX_OUTPUT bytes and a time limit of a command.
Devices  FIFOs and the like are never opened for reading; network file systems are left alone unless told otherwise.
Commands are words: no shell takes part unless the policy names one. They see no terminal, little environment, and end with
         all that they started.
"""

import contextlib
import os
import selectors
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import psutil

from hids.agent.registrykeys import Registry, RegistryError
from hids.core.policy.host import Unavailable
from hids.messages.lines import MAX_LINE_BYTES

MAX_FILE = 32 * 1024 * 1024
MAX_OUTPUT = 4 * 1024 * 1024
MAX_ENTRIES = 200_000
MAX_DEPTH = 64
MAX_REMEMBERED = 512
"""Commands whose output is kept for the rules that ask again."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C", "HOME": "/", "TERM": "dumb"}
_NOT_RUN = (126, 127)
"""Exit statuses with which shells say that there is no such command, or that it may not be run."""
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "9p", "afs", "lustre")
)


class LocalHost:
    """The views of this host; one for each evaluation."""

    def __init__(
        self, *, timeout_s: float, refusal: str = "", skip_network: bool = True, registry: Registry | None = None
    ) -> None:
        """Look at this host.

        Args:
            timeout_s: of one command.
            refusal: why no command is run; empty: they are.
            skip_network: leave network file systems alone.
            registry: where rules about Windows' registry look; None: nowhere.
        """
        self._timeout_s = timeout_s
        self._refusal = refusal
        self._registry = registry
        self._outputs: dict[str, list[bytes] | Unavailable] = {}
        self._processes: list[str] | None = None
        self._running: subprocess.Popen[bytes] | None = None
        self._remote = _network_mounts() if skip_network else ()

    # -- files

    def is_file(self, path: str) -> bool:
        """A regular file is there."""
        found = self._stat(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def is_directory(self, path: str) -> bool:
        """A directory is there."""
        found = self._stat(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def lines(self, path: str) -> Sequence[bytes]:
        """A file's lines."""
        self._check_local(path)
        try:
            # A FIFO would make a reader wait, and a terminal would make itself ours.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Unavailable(f"{path}: not a regular file")
                data = _read(file)
        except (OSError, ValueError) as error:
            raise Unavailable(f"{path}: {_why(error)}") from error
        if len(data) > MAX_FILE:
            raise Unavailable(f"{path}: larger than {MAX_FILE} bytes")
        return _lines(data) if data else []

    def files_below(self, path: str) -> Iterator[tuple[str, str]]:
        """(name, path) of each regular file, links to such included; links to directories are not followed."""
        entries, problem = 0, ""
        waiting = [(path, 0)]
        while waiting:
            directory, depth = waiting.pop()
            self._check_local(directory)
            try:
                with os.scandir(directory) as found:
                    for entry in found:
                        entries += 1
                        if entries > MAX_ENTRIES:
                            raise Unavailable(f"{path}: more than {MAX_ENTRIES} files")
                        if entry.is_dir(follow_symlinks=False):
                            if depth < MAX_DEPTH:
                                waiting.append((entry.path, depth + 1))
                        elif entry.is_file():
                            yield entry.name, entry.path
            except (OSError, ValueError) as error:
                problem = problem or f"{directory}: {_why(error)}"
        if problem:
            raise Unavailable(problem)

    def _stat(self, path: str) -> os.stat_result | None:
        self._check_local(path)
        try:
            return os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Unavailable(f"{path}: {_why(error)}") from error

    def _check_local(self, path: str) -> None:
        for mount in self._remote:
            if path == mount or path.startswith(mount.rstrip("/") + "/"):
                raise Unavailable(f"{path}: on the network file system {mount}")

    # -- what runs

    def processes(self) -> Sequence[str]:
        """Names and programs' paths of what runs."""
        if self._processes is None:
            names: list[str] = []
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, OSError):
                    names.append(process.name())
                    names.append(process.exe())
            self._processes = [name for name in names if name]
        return self._processes

    def output(self, command: str) -> Sequence[bytes]:
        """What a command prints, errors included; one that was asked before is not run again."""
        known = self._outputs.get(command)
        if known is None:
            try:
                known = self._run(command)
            except Unavailable as error:
                known = error
            if len(self._outputs) >= MAX_REMEMBERED:
                del self._outputs[next(iter(self._outputs))]
            self._outputs[command] = known
        if isinstance(known, Unavailable):
            raise known
        return known

    def registry(self, key: str) -> Mapping[str, str] | None:
        """Values of a key, as text."""
        if self._registry is None:
            raise Unavailable(f"{key}: this host has no registry")
        try:
            return self._registry.values(key)
        except RegistryError as error:
            raise Unavailable(str(error)) from error

    def end_command(self) -> None:
        """End the command that runs, with all that it started. May be called from a signal handler."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._running.pid, signal.SIGKILL)

    def _run(self, command: str) -> list[bytes]:
        shown = command[:200]
        if self._refusal:
            raise Unavailable(f"{shown}: {self._refusal}")
        try:
            argv = shlex.split(command)
            self._running = process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # so that what it starts ends with it
            )
        except (OSError, ValueError) as error:
            raise Unavailable(f"{shown}: cannot be run: {_why(error)}") from error
        try:
            with process:
                try:
                    output = self._read(process, shown)
                    status = process.wait(self._timeout_s)
                except subprocess.TimeoutExpired as error:
                    raise Unavailable(f"{shown}: took more than {self._timeout_s:g} s") from error
                finally:
                    self.end_command()
        finally:
            self._running = None
        if status < 0:
            raise Unavailable(f"{shown}: ended by {signal.Signals(-status).name}")
        if status in _NOT_RUN:
            raise Unavailable(f"{shown}: exit status {status}: no such command, or it may not be run")
        return _lines(output)

    def _read(self, process: "subprocess.Popen[bytes]", shown: str) -> bytes:
        assert process.stdout is not None  # noqa: S101 - piped by the caller
        end_s = time.monotonic() + self._timeout_s
        output = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left_s = end_s - time.monotonic()
                if left_s <= 0 or not selector.select(left_s):
                    raise Unavailable(f"{shown}: took more than {self._timeout_s:g} s")
                data = os.read(process.stdout.fileno(), 65_536)
                if not data:
                    return bytes(output)
                output += data
                if len(output) > MAX_OUTPUT:
                    raise Unavailable(f"{shown}: printed more than {MAX_OUTPUT} bytes")


def _read(file: BinaryIO) -> bytes:
    """Up to a byte more than is taken. In small parts: /proc refuses a read of some MiB (ENOMEM)."""
    data = bytearray()
    while len(data) <= MAX_FILE and (part := file.read(65_536)):
        data += part
    return bytes(data)


def _lines(data: bytes) -> list[bytes]:
    """Without their ends; a last newline begins no line."""
    return [line.rstrip(b"\r")[:MAX_LINE_BYTES] for line in data.removesuffix(b"\n").split(b"\n")]


def _network_mounts() -> tuple[str, ...]:
    """Where network file systems are mounted: one whose server is gone never answers."""
    return tuple(part.mountpoint for part in psutil.disk_partitions(all=True) if part.fstype in _NETWORK)


def _why(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
