"""Commands on other hosts, through the system's own ssh: its keys, its known hosts, its configuration; never a password or a prompt."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

MAX_OUTPUT = 4 * 1024 * 1024
"""Bytes of one run."""
CONNECT_S = 20


class Remote(msgspec.Struct, frozen=True):
    """Where, and how to get in."""

    host: str
    """"user@host"; ssh's own configuration may say more about it."""
    port: int = 22
    identity: str = ""
    """A private key's file; empty: as ssh finds one."""
    options: tuple[str, ...] = ()
    """More of ssh's options, such as "ProxyJump=gate"."""


class Output(NamedTuple):
    """What came of a run."""

    text: bytes
    problem: str
    """Why the text says nothing; empty when it does."""


def arguments(remote: Remote, command: str, program: str = "ssh") -> list[str]:
    """The command line. The remote command is one word of it: the remote shell's business, as with ssh by hand."""
    words = [program, "-T", "-p", str(remote.port)]
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={CONNECT_S}", *remote.options):
        words += ["-o", option]
    if remote.identity:
        words += ["-i", remote.identity, "-o", "IdentitiesOnly=yes"]
    return [*words, "--", remote.host, command]


async def run(remote: Remote, command: str, timeout_s: float, program: str | None = None) -> Output:
    """Run one command there; bounded in time and bytes."""
    found = program or shutil.which("ssh")
    if found is None:
        return Output(b"", "ssh is not installed on the manager")
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments(remote, command, found),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return Output(b"", f"ssh cannot be run: {error.strerror}")
    assert process.stdout is not None  # noqa: S101 - piped above
    assert process.stderr is not None  # noqa: S101
    complaint = asyncio.create_task(process.stderr.read(4096))
    try:
        async with asyncio.timeout(timeout_s):
            text = await _bounded(process.stdout)
            if len(text) > MAX_OUTPUT:
                return Output(b"", f"it printed more than {MAX_OUTPUT} bytes")
            words = (await complaint).decode("utf-8", "replace").split("\n")
            status = await process.wait()
    except TimeoutError:
        return Output(b"", f"it took longer than {timeout_s:g} s")
    finally:
        complaint.cancel()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if status != 0:
        said = next((word for word in reversed(words) if word.strip()), "")
        return Output(b"", f"status {status}: {said.strip()[:200]}")
    return Output(text, "")


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    text = bytearray()
    while len(text) <= MAX_OUTPUT and (data := await stream.read(65_536)):
        text += data
    return bytes(text)


def words_of(paths: Sequence[str]) -> str:
    """The remote command that prints the SHA-256 of every file below these paths, in the order of their names."""
    return f"find {shlex.join(paths)} -xdev -type f -exec sha256sum -- {{}} + | LC_ALL=C sort -k 2"
