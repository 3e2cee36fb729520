"""Hidden ports: real ones, in a network namespace of the test's own."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hids.agent.checks import ports
from hids.agent.checks.host import Host

ROOT = Path(__file__).parents[3]
SCENE = """
import socket, sys
from hids.agent.checks import ports
tcp, udp, bound, six = (socket.socket(*kind) for kind in (
    (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_STREAM),
    (socket.AF_INET6, socket.SOCK_STREAM)))
tcp.bind(("0.0.0.0", 40001)); tcp.listen()
udp.bind(("0.0.0.0", 40002))
bound.bind(("0.0.0.0", 40003))
six.bind(("::", 40004)); six.listen()
for step in ports.check(None, sys.argv[1], range(39900, 40100)):
    if step is not None:
        print(step.text)
"""
can_isolate = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root and unshare for a network namespace",
)


def scene(proc: str) -> list[str]:
    done = subprocess.run(
        ("unshare", "--net", sys.executable, "-c", SCENE, proc),  # noqa: S607
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if done.returncode:
        if "permission denied" in done.stderr.lower() or "not permitted" in done.stderr.lower():
            pytest.skip(f"no namespaces here: {done.stderr.strip()}")
        pytest.fail(done.stderr)
    return sorted(done.stdout.splitlines())


@pytest.mark.slow
@can_isolate
def test_ports_that_are_in_use_and_listed_are_no_news():
    assert scene("/proc") == []


@pytest.mark.slow
@can_isolate
def test_ports_that_proc_does_not_list_are_found(tmp_path: Path):
    """The lists of /proc/net are empty, as a rootkit's hook would leave them; the kernel's sockets are real."""
    (tmp_path / "net").mkdir()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        (tmp_path / "net" / name).write_text("  sl  local_address rem_address   st\n")
    lines = scene(str(tmp_path))
    assert lines == [
        "Port '40001'(tcp) hidden from /proc/net. It is in use according to bind and netlink.",
        "Port '40002'(udp) hidden from /proc/net. It is in use according to bind and netlink.",
        "Port '40004'(tcp) hidden from /proc/net. It is in use according to bind and netlink.",
    ], "40003 is bound only, which is no sign of anything"


def test_a_taken_port_is_taken():
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        assert ports.is_taken(ports.PROTOCOLS[0], sock.getsockname()[1])


def test_a_port_in_no_list_is_told_when_it_answers(monkeypatch: pytest.MonkeyPatch, make_host: Callable[..., Host]):
    """Both lists are blind: only the kernel's refusal to bind shows it, and that it takes connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        monkeypatch.setattr(ports, "local_ports", lambda family, protocol: (set(), set()))
        monkeypatch.setattr(ports, "_ports_of", lambda path: set())
        found = [step.text for step in ports.check(make_host(), span=range(port, port + 1)) if step is not None]
    assert found == [
        f"Port '{port}'(tcp) hidden from /proc/net and netlink. It is in use according to bind. It answers connections."
    ]
