"""Starts the manager's own processes, each at the other end of a socket pair."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import psutil


class Launched:
    """A child process and our end of its socket. Seen from one thread."""

    def __init__(self, popen: "subprocess.Popen[bytes]", sock: socket.socket) -> None:
        self._popen = popen
        self._sock = sock

    @property
    def sock(self) -> socket.socket:
        """Our end of its socket."""
        return self._sock

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def status(self) -> int | None:
        """Exit status, -N when signal N killed it; None while it lives. Never waits."""
        return self._popen.poll()

    def kill(self) -> None:
        """SIGKILL; harmless when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.kill()

    def end(self) -> None:
        """SIGKILL, and wait until it has ended; its socket is closed."""
        self._sock.close()
        self.kill()
        self._popen.wait()


def launch(module: str, arguments: Sequence[str], *, datagrams: bool = False, inherit: Sequence[int] = ()) -> Launched:
    """Run `python -m module arguments`, with one end of a socket pair as its channel.

    Args:
        module: a module of ours with a `main`.
        arguments: its options, without the descriptor and the parent's pid, which are added.
        inherit: descriptors that it gets, under their numbers.
        datagrams: keep message boundaries (SOCK_SEQPACKET), for sockets that carry descriptors.
    """
    kind = socket.SOCK_SEQPACKET if datagrams else socket.SOCK_STREAM
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    option = "--control-fd" if datagrams else "--channel-fd"
    try:
        popen = subprocess.Popen(
            [
                *(sys.executable, "-m", module),
                *(option, str(theirs.fileno()), "--parent", str(os.getpid())),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), *inherit),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Launched(popen, ours)


def rss_mib(pid: int) -> float:
    """Resident memory of a process in MiB; 0 when it has ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / 1048576
    except psutil.Error:
        return 0.0


def kill(pid: int) -> None:
    """SIGKILL a process that is not our own child; harmless when it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def ended(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exited with status {status}"
