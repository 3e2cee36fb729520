"""What a machine must not be cut off from, read from its own files."""

from pathlib import Path

import psutil
import pytest

from hids.adapters.surroundings import surroundings

ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ROUTE6 = """\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 00000400 00000001 00000000 00000003     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
"""


def test_gateways_and_resolvers(tmp_path: Path):
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc/net/route").write_text(ROUTE)
    (tmp_path / "proc/net/ipv6_route").write_text(ROUTE6)
    (tmp_path / "etc/resolv.conf").write_text("# nameserver 1.1.1.1\nnameserver 9.9.9.9\n nameserver 2001:db8::53\n")
    (tmp_path / "run/systemd/sessions").mkdir(parents=True)
    (tmp_path / "run/systemd/sessions/c1").write_text("UID=0\nREMOTE=1\nREMOTE_HOST=198.51.100.20\nSTATE=active\n")
    around = surroundings(("manager",), tmp_path)
    assert "198.51.100.20" in around.sessions
    assert around.gateways == ("10.0.0.1", "2001:db8::1")
    assert around.resolvers == ("9.9.9.9", "2001:db8::53")
    assert around.manager == ("manager",)
    assert "127.0.0.1" in around.own


def test_a_machine_without_them(tmp_path: Path):
    around = surroundings((), tmp_path)
    assert (around.gateways, around.resolvers) == ((), ())


FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.5
        /32 host LOCAL
     |-- 10.0.0.255
        /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
"""


def test_a_service_that_may_not_ask_the_kernel_reads_its_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused() -> None:
        raise OSError("Address family not supported by protocol")

    monkeypatch.setattr(psutil, "net_if_addrs", refused)
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/fib_trie").write_text(FIB)
    (tmp_path / "proc/net/if_inet6").write_text("20010db8000000000000000000000005 02 40 00 80     eth0\n")
    assert surroundings((), tmp_path).own == ("10.0.0.5", "127.0.0.1", "2001:db8::5")


def test_the_real_files_are_read_alike():
    from hids.adapters import surroundings as module  # noqa: PLC0415 - its private readers

    own = set(module.own_addresses())
    read = module._own4(module._read(Path("/proc/net/fib_trie")))
    assert set(read) <= own | {"127.0.0.1"}
