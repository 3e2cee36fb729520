#!/usr/bin/env python3
"""What a person finds with stat, sysctl and dpkg, beside what the policy for Debian 12 says: the table of docs/policy.md.

    tools/policy_by_hand            the table, as Markdown
    tools/policy_by_hand --json     one object a line

The last column is what hids says. Ends with 1 when they differ anywhere.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402 - the path comes first

from hids.agent.policyhost import LocalHost  # noqa: E402
from hids.agent.policyscan import scan  # noqa: E402

POLICY = ROOT / "conf" / "policies" / "debian12.yml"


class ByHand(NamedTuple):
    """One check, as a person would do it."""

    id: int
    command: tuple[str, ...]
    is_so: Callable[[str], bool]
    """What it prints is as it should be."""


class Row(NamedTuple):
    """One line of the table."""

    id: int
    title: str
    command: str
    printed: str
    by_hand: str
    by_hids: str


def _stat(id_: int, path: str, is_so: Callable[[int, str, str], bool]) -> ByHand:
    def holds(printed: str) -> bool:
        mode, owner, group = printed.split()
        return is_so(int(mode, 8), owner, group)

    return ByHand(id_, ("stat", "-L", "-c", "%a %U %G", path), holds)


def _sysctl(id_: int, name: str, is_so: Callable[[int], bool]) -> ByHand:
    return ByHand(id_, ("sysctl", "-n", name), lambda printed: is_so(int(printed)))


def _absent(id_: int, *packages: str) -> ByHand:
    return ByHand(id_, ("dpkg", "-s", *packages), lambda printed: "Status: install ok installed" not in printed)


def _present(id_: int, *packages: str) -> ByHand:
    return ByHand(id_, ("dpkg", "-s", *packages), lambda printed: "Status: install ok installed" in printed)


CHECKS = (
    _stat(1, "/etc/passwd", lambda mode, owner, group: not mode & 0o133 and (owner, group) == ("root", "root")),
    _stat(2, "/etc/group", lambda mode, owner, group: not mode & 0o133 and (owner, group) == ("root", "root")),
    _stat(
        3,
        "/etc/shadow",
        lambda mode, owner, group: not mode & 0o137 and owner == "root" and group in ("root", "shadow"),
    ),
    _stat(
        4,
        "/etc/gshadow",
        lambda mode, owner, group: not mode & 0o137 and owner == "root" and group in ("root", "shadow"),
    ),
    _stat(5, "/root", lambda mode, owner, _: not mode & 0o077 and owner == "root"),
    _stat(6, "/tmp", lambda mode, owner, _: bool(mode & 0o1000) and owner == "root"),  # noqa: S108 - it is about /tmp
    ByHand(8, ("getent", "passwd", "0"), lambda printed: printed.count("\n") <= 1 and printed.startswith("root:")),
    _sysctl(11, "kernel.randomize_va_space", lambda value: value == 2),  # noqa: PLR2004
    _sysctl(12, "kernel.dmesg_restrict", lambda value: value == 1),
    _sysctl(13, "kernel.kptr_restrict", lambda value: value >= 1),
    _sysctl(15, "kernel.unprivileged_bpf_disabled", lambda value: value >= 1),
    _sysctl(16, "fs.protected_hardlinks", lambda value: value == 1),
    _sysctl(17, "fs.protected_symlinks", lambda value: value == 1),
    _sysctl(18, "fs.protected_fifos", lambda value: value >= 1),
    _sysctl(19, "fs.suid_dumpable", lambda value: value == 0),
    _sysctl(20, "net.ipv4.ip_forward", lambda value: value == 0),
    _sysctl(21, "net.ipv4.conf.all.accept_redirects", lambda value: value == 0),
    _sysctl(22, "net.ipv4.conf.all.accept_source_route", lambda value: value == 0),
    _sysctl(23, "net.ipv4.conf.all.rp_filter", lambda value: value >= 1),
    _sysctl(24, "net.ipv4.tcp_syncookies", lambda value: value >= 1),
    _absent(25, "telnetd", "inetutils-telnetd"),
    _absent(26, "rsh-server", "rsh-redone-server"),
    _absent(27, "nis", "ypserv"),
    _present(31, "systemd-timesyncd", "chrony", "ntpsec"),
    _present(32, "unattended-upgrades"),
)


def rows() -> Iterator[Row]:
    """Each check done both ways, one after the other."""
    report = scan(str(POLICY), LocalHost(timeout_s=60))
    if report.problem or not report.applies:
        raise SystemExit(report.problem or "this is no Debian 12")
    titles = {one.id: msgspec.json.decode(b"{" + one.members + b"}")["check"]["title"] for one in report.checked}
    results = {one.id: one.result for one in report.checked}
    for check in CHECKS:
        done = subprocess.run(check.command, capture_output=True, text=True, check=False, timeout=60)
        by_hand = "passed" if check.is_so(done.stdout) else "failed"
        states = [line for line in done.stdout.splitlines() if line.startswith(("Package:", "Status:"))]
        shown = ", ".join(states) if check.command[0] == "dpkg" else done.stdout.strip()
        said = shown or done.stderr.strip().partition("\n")[0]
        yield Row(check.id, titles[check.id], " ".join(check.command), said, by_hand, results[check.id])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = list(rows())
    if options.json:
        for row in found:
            print(json.dumps(row._asdict()))
    else:
        print("| check | by hand | prints | so it | hids says |\n|---|---|---|---|---|")
        for row in found:
            print(f"| {row.id} {row.title} | `{row.command}` | `{row.printed}` | {row.by_hand} | {row.by_hids} |")
    sys.exit(any(row.by_hand != row.by_hids for row in found))


if __name__ == "__main__":
    main()
