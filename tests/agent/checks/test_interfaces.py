"""Interfaces that listen: a real one in a network namespace of the test's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hids.agent.checks import interfaces
from hids.agent.checks.host import Host

ROOT = Path(__file__).parents[3]
LISTENS = """
import socket, struct
from hids.agent.checks import interfaces
def look():
    return [step.text for step in interfaces.check(None, "/nowhere") if step is not None]
assert look() == [], look()
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
packets.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex("lo"), 1, 0, b""))  # SOL_PACKET, PACKET_ADD_MEMBERSHIP
print(*look())
packets.close()
assert look() == []
"""


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare for a network namespace"
)
def test_who_listens_on_an_interface_is_found():
    """As tcpdump and sniffers do it: a packet socket asks for all packets."""
    done = subprocess.run(
        ("unshare", "--net", sys.executable, "-c", LISTENS),  # noqa: S607
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert (done.stdout, done.stderr) == ("Interface 'lo' in promiscuous mode.\n", "")


def test_flags_and_bridges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_host: Callable[..., Host]):
    for name, flags in (("eth0", "0x1103\n"), ("eth1", "0x1003\n"), ("veth0", "0x1103\n"), ("odd", "x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags").write_text(flags)
    (tmp_path / "veth0/brport").mkdir()
    monkeypatch.setattr(interfaces, "promiscuous", lambda: {"veth0": 1, "eth2": 1})
    found = [step.text for step in interfaces.check(make_host(), str(tmp_path)) if step is not None]
    assert found == ["Interface 'eth0' in promiscuous mode.", "Interface 'eth2' in promiscuous mode."]
    monkeypatch.setattr(interfaces, "promiscuous", lambda: {"veth0": 2})
    found = [step.text for step in interfaces.check(make_host(), str(tmp_path)) if step is not None]
    assert "Interface 'veth0' in promiscuous mode." in found, "beside the bridge somebody else listens"
