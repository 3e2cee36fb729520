"""Whose files they are: what dpkg, rpm and apk say about a file, and whether it is as they brought it.

A program that is as its package brought it is no trojan, whatever texts are in it. Whoever is root can change these databases, too;
so they only take away from what is found by the look of a file, never from what is found hidden.
"""

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator

from hids.agent.checks.regular import open_regular

HASH_CHUNK = 256 * 1024
RPM_TIMEOUT_S = 20
MD5_LENGTH = 32
MAX_DATABASE_BYTES = 64 * 1024 * 1024
"""Of one package's list. The largest on a Debian has 5 MiB."""
MAX_FILE_BYTES = 512 * 1024 * 1024
"""Larger files are not hashed, and so are nobody's."""


class Packages:
    """The package databases below a base folder. Answers are kept for one scan."""

    def __init__(self, base: str = "/") -> None:
        self._base = base
        self._answers: dict[str, bool] = {}

    def vouch_for(self, path: str) -> bool:
        """Whether a package owns the file that lies there (links followed), and it is as the package brought it."""
        try:
            real = os.path.realpath(path)
        except OSError:
            return False
        if real not in self._answers:
            self._answers[real] = self._ask(real)
        return self._answers[real]

    def _ask(self, real: str) -> bool:
        names = _spellings(real.removeprefix(self._base.rstrip("/")))
        if wanted := set(_dpkg_digests(os.path.join(self._base, "var/lib/dpkg/info"), names)):
            return _digest(real, "md5") in wanted
        if wanted := set(_apk_digests(os.path.join(self._base, "lib/apk/db/installed"), names)):
            return _digest(real, "sha1") in wanted
        return self._base == "/" and _rpm_vouches(real)


def _spellings(path: str) -> tuple[str, ...]:
    """How a database may call a file: before and after /bin, /sbin and /lib became links into /usr."""
    return (path, path[4:]) if path.startswith(("/usr/bin/", "/usr/sbin/", "/usr/lib")) else (path,)


def _dpkg_digests(folder: str, names: tuple[str, ...]) -> Iterator[str]:
    """MD5 of these paths. The files are searched for each question: few are asked, and an index would take 20 MiB and more."""
    try:
        files = [name for name in os.listdir(folder) if name.endswith(".md5sums")]
    except OSError:
        return
    rows = [os.fsencode(f"  {name[1:]}\n") for name in names]
    for file in files:
        try:
            with open(os.path.join(folder, file), "rb") as opened:
                data = b"\n" + opened.read(MAX_DATABASE_BYTES)
        except OSError:
            continue
        for row in rows:
            at = data.find(row)
            if at >= MD5_LENGTH and data[at - MD5_LENGTH - 1 : at - MD5_LENGTH] == b"\n":
                yield data[at - MD5_LENGTH : at].decode("ascii", "replace")


def _apk_digests(path: str, names: tuple[str, ...]) -> Iterator[str]:
    """SHA-1 of these paths: `F:` names a folder, `R:` a file in it, `Z:` its hash, Q1 and base64."""
    folder = name = ""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                kind, value = line[:2], line[2:].rstrip("\n")
                if kind == "F:":
                    folder = value
                elif kind == "R:":
                    name = value
                elif kind == "Z:" and value.startswith("Q1") and f"/{folder}/{name}".replace("//", "/") in names:
                    yield base64.b64decode(value[2:]).hex()
    except (OSError, ValueError):
        return


def _digest(path: str, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    file = open_regular(path)
    if file is None:
        return ""
    with file:
        left = MAX_FILE_BYTES
        try:
            while left > 0 and (chunk := file.read(HASH_CHUNK)):
                digest.update(chunk)
                left -= len(chunk)
        except OSError:
            return ""
    return digest.hexdigest()


def _rpm_vouches(path: str) -> bool:
    """Ask rpm: `-V` prints a line for each file that differs, and fails for one that it does not know."""
    rpm = shutil.which("rpm", path="/usr/bin:/bin")
    if rpm is None or not os.path.isdir("/var/lib/rpm"):
        return False
    try:
        asked = subprocess.run(
            (rpm, "-Vf", "--nodeps", "--noscripts", "--", path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RPM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    differs = any(line.rstrip().endswith(os.fsencode(path)) for line in asked.stdout.split(b"\n"))
    return not differs and b"not owned" not in asked.stdout + asked.stderr and not asked.stderr
