"""Which package managers a host has."""

import os
import shutil
from pathlib import Path

from hids.agent.packages.apk import Apk
from hids.agent.packages.database import PackageDatabase
from hids.agent.packages.dpkg import Alternatives, Dpkg
from hids.agent.packages.rpm import Rpm


def databases() -> list[PackageDatabase]:
    """Those of this host. Dpkg's is where dpkg itself would look (DPKG_ADMINDIR, DPKG_ROOT)."""
    found: list[PackageDatabase] = []
    dpkg = Path(os.environ.get("DPKG_ADMINDIR") or "/var/lib/dpkg")
    if (dpkg / "status").exists():
        root = os.environ.get("DPKG_ROOT", "").rstrip("/")
        found += [Dpkg(dpkg, root), Alternatives(dpkg / "alternatives", root)]
    if Path("/lib/apk/db/installed").exists():
        found.append(Apk())
    program = shutil.which("rpm")
    for folder in (Path("/usr/lib/sysimage/rpm"), Path("/var/lib/rpm")):
        if program is not None and any(
            (folder / name).exists() for name in ("rpmdb.sqlite", "Packages", "Packages.db")
        ):
            found.append(Rpm(program, folder))
            break
    return found


def databases_below(base: str) -> list[PackageDatabase]:
    """Those of a system that is mounted in a folder; rpm answers only for the host that it runs on."""
    root = base.rstrip("/")
    if not root:
        return databases()
    return [Dpkg(Path(root, "var/lib/dpkg"), root), Apk(Path(root, "lib/apk/db"), root)]
