"""Debian packages made on the spot, installed by a real dpkg below a folder."""

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from hids.agent.packages.dpkg import Dpkg

needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None or shutil.which("dpkg") is None, reason="no dpkg here: packages cannot be built"
)


class DebianRoot:
    """A folder into which packages are installed, with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.admin = folder / "dpkg"
        for path in (self.root, self.admin / "info", self.admin / "updates", self.admin / "triggers"):
            path.mkdir(parents=True)
        (self.admin / "status").write_text("")
        (self.admin / "available").write_text("")

    @property
    def database(self) -> Dpkg:
        return Dpkg(self.admin, str(self.root))

    def build(
        self, version: str, files: Mapping[str, str], conffiles: tuple[str, ...] = (), name: str = "demo"
    ) -> Path:
        """A package with these files (paths without the first slash)."""
        tree = self.folder / f"build-{name}-{version}"
        control = tree / "DEBIAN"
        control.mkdir(parents=True)
        (control / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: demo\n"
        )
        sums = ""
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
            if path not in conffiles:
                sums += f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}  {path}\n"
        (control / "md5sums").write_text(sums)
        if conffiles:
            (control / "conffiles").write_text("".join(f"/{path}\n" for path in conffiles))
        package = self.folder / f"{name}_{version}.deb"
        _run("dpkg-deb", "--build", "--root-owner-group", str(tree), str(package))
        return package

    def dpkg(self, *arguments: str) -> None:
        """Run dpkg on this root."""
        places = (f"--admindir={self.admin}", f"--instdir={self.root}", f"--log={self.folder / 'dpkg.log'}")
        _run("dpkg", *places, "--force-not-root", "--force-bad-path", "--force-confold", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
