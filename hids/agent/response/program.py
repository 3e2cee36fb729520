"""Programs that responses run: found in the system's folders only, argument by argument, without a shell, within a time."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Sequence

from hids.errors import HidsError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_OUTPUT = 64 * 1024
_SHOWN = 200
_DRAIN_S = 1.0


class ActionFailed(HidsError):  # noqa: N818 - what happened
    """An action could not be done, in words."""


def find(name: str) -> str | None:
    """Where the system has a program; None when it has none."""
    return shutil.which(name, path=PATH)


async def run(name: str, *arguments: str, stdin: bytes = b"", timeout_s: float = 10.0) -> bytes:
    """Run a program of the system; returns what it prints.

    Raises:
        ActionFailed: it is not there, took too long, or ended with another status than 0.
    """
    path = find(name)
    if path is None:
        raise ActionFailed(f"{name} is not installed")
    return await run_file(path, *arguments, stdin=stdin, timeout_s=timeout_s)


async def run_file(path: str, *arguments: str, stdin: bytes = b"", timeout_s: float = 10.0) -> bytes:
    """`run` for a file."""
    process = await start(path, arguments)
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await process.communicate(stdin)
    except TimeoutError as error:
        raise ActionFailed(f"{path}: was ended after {timeout_s:g} s") from error
    finally:
        await end(process)
    if process.returncode:
        said = (complaint or output)[:_SHOWN].decode(errors="replace").strip()
        raise ActionFailed(f"{os.path.basename(path)}: status {process.returncode}: {said!r}")
    return output[:MAX_OUTPUT]


async def start(path: str, arguments: Sequence[str]) -> asyncio.subprocess.Process:
    """Start a program with pipes to all three ends.

    Raises:
        ActionFailed: it cannot be started.
    """
    try:
        return await asyncio.create_subprocess_exec(
            path,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that what it starts ends with it
            env={"PATH": PATH, "LC_ALL": "C"},
        )
    except (OSError, ValueError) as error:
        raise ActionFailed(f"{path}: cannot be run: {getattr(error, 'strerror', None) or error}") from error


async def end(process: asyncio.subprocess.Process) -> None:
    """End a program and what it started, and close its pipes; somebody else may hold their other ends: no waiting for him."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_DRAIN_S):
            await process.communicate()
