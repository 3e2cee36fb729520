"""The virtual environments of `tools/check` and `tools/try`: made once, left alone until what they hold has changed.

Standard library only: this runs before anything is installed.
"""

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parent.parent

PIP_KEEPS = {
    f"PIP_{name}"
    for name in (
        *("CONFIG_FILE", "INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS", "CONSTRAINT"),
        *("PROXY", "CERT", "CLIENT_CERT", "TRUSTED_HOST", "KEYRING_PROVIDER"),
        *("TIMEOUT", "DEFAULT_TIMEOUT", "RETRIES", "CACHE_DIR", "NO_CACHE_DIR"),
    )
}
"""Settings of pip that say how it reaches a registry. All others would change what is installed, or where."""

_SPINNER = "|/-\\"
_TICK_S = 0.1
_TOLD_LINES = 20


class InstallError(Exception):
    """The environment cannot be made; the text says why."""


def clean_environment() -> dict[str, str]:
    """This process's environment without what would make Python or pip look elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV", "CONDA_", "UV_")) or name in PIP_KEEPS
    } | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0"}


def fingerprint(paths: Sequence[Path]) -> str:
    """What these files hold, this Python and this place, as one hash."""
    digest = hashlib.sha256(f"{sys.version}\n{sys.executable}\n{PROJECT}\n".encode())
    for path in sorted(paths):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class Environment:
    """A virtual environment in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self._stamp = folder / "hids-installed"

    def holds(self, stamp: str) -> bool:
        """Tell whether `ensure` has come to its end here with this stamp."""
        with contextlib.suppress(OSError):
            return self._stamp.read_text() == stamp
        return False

    def ensure(self, pip_arguments: Sequence[str], stamp: str) -> None:
        """Make it, or make it anew when `stamp` is another; waits for a second run that is at it.

        Raises:
            InstallError: venv or pip failed.
        """
        if self.holds(stamp):
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with held(self.folder.with_name(self.folder.name + ".lock"), fcntl.LOCK_EX):
            if self.holds(stamp):
                return
            self._stamp.unlink(missing_ok=True)
            pip = [str(self.bin / "python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
            _run("making a virtual environment", [sys.executable, "-m", "venv", "--clear", str(self.folder)])
            _run("installing hids and what it needs", [*pip, *pip_arguments])
            self._stamp.write_text(stamp)

    def command(self, name: str) -> str:
        """Path of a program in it."""
        return str(self.bin / name)

    def variables(self) -> dict[str, str]:
        """Environment variables for programs in it."""
        clean = clean_environment()
        return clean | {"VIRTUAL_ENV": str(self.folder), "PATH": f"{self.bin}{os.pathsep}{clean.get('PATH', '')}"}


@contextlib.contextmanager
def held(path: Path, how: int) -> Generator[None]:
    """Hold a lock file (`fcntl.LOCK_*`); the kernel lets go of it when this process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if how & fcntl.LOCK_NB:
                raise
            print("waiting for another run that is at it", flush=True)
            fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _run(what: str, command: Sequence[str]) -> None:
    """Run a program quietly, showing that time passes; its words are told when it fails."""
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        output = _wait(process, what, began)
    took = f"{time.monotonic() - began:.0f} s"
    if process.returncode:
        words = "\n".join(f"    {line}" for line in output.splitlines()[-_TOLD_LINES:])
        raise InstallError(f"{what} failed after {took} ({' '.join(command)}):\n{words}")
    print(f"{what}: {took}", flush=True)


def _wait(process: "subprocess.Popen[str]", what: str, began: float) -> str:
    """Wait for the end of a program; returns what it printed."""
    live = sys.stdout.isatty()
    if not live:
        print(f"{what} ...", flush=True)
    try:
        for turn in range(sys.maxsize):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=_TICK_S)[0]
            if live:
                seconds = time.monotonic() - began
                print(f"\r{_SPINNER[turn % len(_SPINNER)]} {what}, {seconds:.0f} s ", end="", flush=True)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # pip starts pips
        raise
    finally:
        if live:
            print("\r\x1b[K", end="", flush=True)
    return ""


def development() -> Environment:
    """The project's .venv: the project itself, editable, and all that its checks need.

    Raises:
        InstallError: it cannot be made.
    """
    environment = Environment(PROJECT / ".venv")
    environment.ensure(("--editable", ".[dev]"), fingerprint([PROJECT / "pyproject.toml"]))
    return environment


def main() -> NoReturn:
    """Run a Python program with its arguments in the project's .venv; makes that first where it is not there yet."""
    try:
        environment = development()
    except InstallError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    python = environment.command("python")
    os.execve(python, [python, *sys.argv[1:]], environment.variables())  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
