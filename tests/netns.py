"""A network for tests: this host, a host in a namespace, and an attacker in another, with cables between them. Needs root.

here 198.18.N.1, gateway of the namespace <-> there 198.18.N.2, 203.0.113.1 <-> the attacker, 203.0.113.7
"""

import json
import os
import shutil
import subprocess
import sys

import pytest


def why_not() -> str:
    """Why this machine cannot have one; empty when it can."""
    if os.geteuid() != 0:
        return "needs root, for a network namespace"
    missing = [name for name in ("ip", "nft") if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)} (Debian: iproute2, nftables)"
    name = f"hids-{os.getpid()}-try"
    if _try("ip", "netns", "add", name).returncode:
        return "this machine gives no network namespaces"
    try:
        if _try(
            "ip", "link", "add", f"{name[:11]}-v", "type", "veth", "peer", "name", "eth0", "netns", name
        ).returncode:
            return "this machine gives no virtual cables (veth)"
        if _try("ip", "netns", "exec", name, "nft", "list", "ruleset").returncode:
            return "nft does not work in a network namespace here"
    finally:
        _try("ip", "netns", "del", name)
    return ""


_KNOCK = """
import socket, sys
with socket.socket() as sock:
    sock.settimeout(float(sys.argv[2]))
    try:
        sock.connect((sys.argv[1], 9))
    except ConnectionRefusedError:
        pass
    except TimeoutError:
        sys.exit(1)
"""


class Net:
    """One such network."""

    def __init__(self, number: int) -> None:
        self.name = f"hids-{os.getpid()}-{number}"
        self._veth = f"hids{os.getpid() % 100_000}{number}"
        self.here = f"198.18.{number}.1"
        self.there = f"198.18.{number}.2"
        self.attacker = "203.0.113.7"
        self.enter = ("ip", "netns", "exec", self.name)
        self._outside = f"{self.name}-x"

    def open(self) -> None:
        for name in (self.name, self._outside):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "link", "add", self._veth, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _run("ip", "addr", "add", f"{self.here}/24", "dev", self._veth)
        _run("ip", "link", "set", self._veth, "up")
        inside, outside = ("ip", "-n", self.name), ("ip", "-n", self._outside)
        _run(*inside, "addr", "add", f"{self.there}/24", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")
        _run(*inside, "route", "add", "default", "via", self.here)
        _run(*inside, "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", self._outside)
        _run(*inside, "addr", "add", "203.0.113.1/24", "dev", "eth1")
        _run(*inside, "link", "set", "eth1", "up")
        _run(*outside, "addr", "add", f"{self.attacker}/24", "dev", "eth0")
        _run(*outside, "link", "set", "eth0", "up")

    def close(self) -> None:
        for name in (self.name, self._outside):
            _try("ip", "netns", "del", name)
        _try("ip", "link", "del", self._veth)

    def inside(self, *argv: str) -> str:
        """Run a program in the namespace; returns what it prints."""
        return _run(*self.enter, *argv)

    def blocked(self) -> set[str]:
        """Addresses that nftables drops in the namespace, by our table."""
        listed = _try(*self.enter, "nft", "-j", "list", "table", "inet", "hids")
        if listed.returncode:
            return set()
        elements = [
            element
            for entry in json.loads(listed.stdout)["nftables"]
            for element in entry.get("set", {}).get("elem", ())
        ]
        return {element["elem"]["val"] if isinstance(element, dict) else element for element in elements}

    def reaches(self, timeout_s: float = 0.5) -> bool:
        """Whether the attacker gets an answer: refused is one, silence is none."""
        argv = ("ip", "netns", "exec", self._outside, sys.executable, "-c", _KNOCK, "203.0.113.1", str(timeout_s))
        return _try(*argv).returncode == 0


def _try(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def _run(*argv: str) -> str:
    done = _try(*argv)
    if done.returncode:
        pytest.fail(f"{argv}: status {done.returncode}: {done.stderr}")
    return done.stdout
