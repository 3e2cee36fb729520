"""Actions with the real nftables, iptables and routes in a network namespace, and others by what they are called with."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from netns import Net, why_not

from hids.agent.response import program
from hids.agent.response.action import Action
from hids.agent.response.cloud import AwsWaf
from hids.agent.response.firewall import Firewalld, Iptables, Nftables, firewall_of, ipfw, npf, pf
from hids.agent.response.host import DisableAccount, HostDeny, RouteNull
from hids.agent.response.program import ActionFailed
from hids.core.collect.config import AwsWafConfig
from hids.messages.response import ResponseOrder

_WHY_NOT = why_not()
needs_network = [pytest.mark.slow, pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT or "it works")]

V4, V6 = "192.0.2.7", "2001:db8::7"


def order(address: str = V4, **fields: Any) -> ResponseOrder:
    return ResponseOrder(id="x", agent="001", response="r", command="c", action="a", address=address, **fields)


def add(action: Action, address: str = V4, left_s: float = 60, **fields: Any) -> None:
    asyncio.run(action.add(order(address, **fields), left_s))


def delete(action: Action, address: str = V4, **fields: Any) -> None:
    asyncio.run(action.delete(order(address, **fields)))


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    """A namespace; the programs that actions find run in it."""
    net = Net(11)
    net.open()
    for name in ("nft", "ip", "iptables", "ip6tables"):
        path = shutil.which(name)
        if path is not None:
            (tmp_path / name).write_text(f'#!/bin/sh\nexec {shutil.which("ip")} netns exec {net.name} {path} "$@"\n')
            (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(program, "PATH", f"{tmp_path}:{program.PATH}")
    try:
        yield net
    finally:
        net.close()


class Fakes:
    """Programs that note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, name: str, body: str = "exit 0") -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name}|$(printf "%s|" "$@")" >> {self.folder}/calls\n{body}\n')
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return [line.rstrip("|") for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    monkeypatch.setattr(program, "PATH", f"{tmp_path}:/usr/bin:/bin")
    return Fakes(tmp_path)


class TestNftables:
    pytestmark = needs_network

    def test_elements_have_an_end_and_can_be_given_another(self, net: Net):
        action = Nftables()
        add(action, V4, 3600)
        add(action, V6, 0)
        assert net.blocked() == {V4, V6}
        add(action, V4, 7200)
        listed = net.inside("nft", "list", "set", "inet", "hids", "blocked4")
        assert "timeout 2h" in listed
        delete(action, V4)
        delete(action, V4)
        assert net.blocked() == {V6}
        add(action, V4, 0.05)
        assert asyncio.run(_gone(net, V4)), "the kernel ends it by itself"

    def test_others_rules_are_left_alone(self, net: Net):
        net.inside("nft", "add table inet mine")
        add(Nftables())
        assert "table inet mine" in net.inside("nft", "list", "tables")

    def test_what_is_no_address_never_reaches_it(self, net: Net):
        for text in ("", "192.0.2.7 }; flush ruleset; {", "web1", "10.0.0.0/8"):
            with pytest.raises(ActionFailed, match="expected an address"):
                add(Nftables(), text)


async def _gone(net: Net, address: str) -> bool:
    for _ in range(500):
        if address not in net.blocked():
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.skipif(shutil.which("iptables") is None, reason="needs iptables (Debian: iptables)")
class TestIptables:
    pytestmark = needs_network

    def test_a_chain_of_our_own(self, net: Net):
        action = Iptables()
        for _ in range(2):
            add(action, V4)
            add(action, V6)
        assert net.inside("iptables", "-S", "HIDS").splitlines()[1:] == [f"-A HIDS -s {V4}/32 -j DROP"]
        assert net.inside("ip6tables", "-S", "HIDS").splitlines()[1:] == [f"-A HIDS -s {V6}/128 -j DROP"]
        assert net.inside("iptables", "-S", "INPUT").count("-j HIDS") == 1
        for _ in range(2):
            delete(action, V4)
        assert net.inside("iptables", "-S", "HIDS").splitlines()[1:] == []


class TestRouteNull:
    pytestmark = needs_network

    def test_a_route_to_nowhere(self, net: Net):
        action = RouteNull()
        for address in (V4, V6):
            for _ in range(2):
                add(action, address)
        assert f"blackhole {V4}" in net.inside("ip", "route")
        assert f"blackhole {V6}" in net.inside("ip", "-6", "route")
        for _ in range(2):
            delete(action, V4)
        assert V4 not in net.inside("ip", "route")

    def test_another_route_is_not_replaced(self, net: Net):
        net.inside("ip", "route", "add", V4, "via", net.here)
        with pytest.raises(ActionFailed, match="File exists"):
            add(RouteNull())
        delete(RouteNull())
        assert f"{V4} via" in net.inside("ip", "route")


class TestHostDeny:
    def test_our_lines_only(self, tmp_path: Path):
        path = tmp_path / "hosts.deny"
        path.write_text("# kept\nALL: 198.51.100.0/24\n")
        action = HostDeny(path)
        for _ in range(2):
            add(action, V4)
        add(action, V6)
        assert path.read_text() == f"# kept\nALL: 198.51.100.0/24\nALL: {V4} # hids\nALL: [{V6}] # hids\n"
        delete(action, V4)
        delete(action, V6)
        assert path.read_text() == "# kept\nALL: 198.51.100.0/24\n"

    def test_a_file_that_is_not_there_is_made_and_a_folder_that_is_not_is_told(self, tmp_path: Path):
        path = tmp_path / "hosts.deny"
        delete(HostDeny(path))
        add(HostDeny(path))
        assert path.stat().st_mode & 0o777 == 0o644
        with pytest.raises(ActionFailed, match="cannot be changed"):
            add(HostDeny(tmp_path / "none" / "hosts.deny"))


def test_accounts_are_locked_and_unlocked(fakes: Fakes):
    fakes.make("passwd")
    add(DisableAccount(), "", user="eve")
    delete(DisableAccount(), "", user="eve")
    assert fakes.calls == ["passwd|-l|eve", "passwd|-u|eve"]
    for user in ("root", "-x", "", "eve; id"):
        with pytest.raises(ActionFailed, match="other than root"):
            add(DisableAccount(), "", user=user)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (pf, [f"pfctl|-q|-t|hids|-T|add|{V4}", f"pfctl|-q|-t|hids|-T|delete|{V4}"]),
        (npf, [f"npfctl|table|hids|add|{V4}", f"npfctl|table|hids|rem|{V4}"]),
        (ipfw, [f"ipfw|-q|table|hids|add|{V4}/32", f"ipfw|-q|table|hids|delete|{V4}/32"]),
        (
            Firewalld,
            [
                f'firewall-cmd|--add-rich-rule=rule family="ipv4" source address="{V4}" drop|--timeout=60',
                f'firewall-cmd|--remove-rich-rule=rule family="ipv4" source address="{V4}" drop',
            ],
        ),
    ],
)
def test_how_the_others_are_called(fakes: Fakes, make: Callable[[], Action], expected: list[str]):
    for name in ("pfctl", "npfctl", "ipfw", "firewall-cmd"):
        fakes.make(name)
    add(make())
    assert expected[0] in fakes.calls
    delete(make())
    assert fakes.calls[-1] == expected[1]


def test_auto_takes_the_first_that_is_there(fakes: Fakes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "PATH", str(fakes.folder))
    with pytest.raises(ActionFailed, match="no firewall was found"):
        firewall_of("auto")
    fakes.make("firewall-cmd")
    assert isinstance(firewall_of("auto"), Firewalld)
    fakes.make("nft")
    assert isinstance(firewall_of("auto"), Nftables)
    assert isinstance(firewall_of("iptables"), Iptables)


def test_a_program_that_fails_or_hangs_or_is_not_there(fakes: Fakes):
    fakes.make("nft", "echo 'it is full' >&2; exit 3")
    with pytest.raises(ActionFailed, match="nft: status 3: 'it is full'"):
        add(Nftables())
    fakes.make("hang", "sleep 60")
    with pytest.raises(ActionFailed, match="was ended after"):
        asyncio.run(program.run("hang", timeout_s=0.2))
    with pytest.raises(ActionFailed, match="is not installed"):
        asyncio.run(program.run("no-such-program"))


AWS = """
case "$2" in
get-ip-set) cat {state} ;;
update-ip-set)
    [ -e {folder}/busy ] && {{ rm {folder}/busy; echo WAFOptimisticLockException >&2; exit 254; }}
    printf '{{"IPSet":{{"Addresses":' > {state}
    printf "%s" "$4" | sed 's/.*"Addresses": *\\(\\[[^]]*\\]\\).*/\\1/' | tr -d '\\n' >> {state}
    printf '}},"LockToken":"t2"}}' >> {state} ;;
esac
"""


def test_aws_waf_changes_the_set_and_tries_again_when_somebody_else_did(fakes: Fakes):
    state = fakes.folder / "set.json"
    state.write_text(json.dumps({"IPSet": {"Addresses": ["198.51.100.1/32"]}, "LockToken": "t1"}))
    fakes.make("aws", AWS.format(state=state, folder=fakes.folder))
    (fakes.folder / "busy").touch()
    action = AwsWaf(AwsWafConfig(name="hids", id="id-1", region="eu-central-1"), 10)
    add(action)
    assert json.loads(state.read_text())["IPSet"]["Addresses"] == ["192.0.2.7/32", "198.51.100.1/32"]
    add(action)
    delete(action)
    delete(action)
    assert json.loads(state.read_text())["IPSet"]["Addresses"] == ["198.51.100.1/32"]
    updates = [call for call in fakes.calls if "update-ip-set" in call]
    assert len(updates) == 3
    assert "--region=eu-central-1" in updates[0]
