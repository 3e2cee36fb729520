"""Whom nothing is done against."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.response.guard import Guard, Surroundings

AROUND = Surroundings(
    own=("10.0.0.5", "2001:db8::5"),
    manager=("10.0.0.9", "manager.example.org"),
    gateways=("10.0.0.1",),
    resolvers=("9.9.9.9",),
    sessions=("198.51.100.20", "console"),
    agents=(("10.0.0.7", "web1"),),
)
GUARD = Guard(AROUND, (ipaddress.ip_network("192.0.2.0/28"),), ("root",))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.0.0.5", "an address of this machine"),
        ("2001:db8::5", "an address of this machine"),
        ("2001:0DB8:0:0::0005", "an address of this machine"),
        ("::ffff:10.0.0.9", "the manager"),
        ("10.0.0.1", "a gateway"),
        ("9.9.9.9", "a DNS resolver"),
        ("198.51.100.20", "logged in from there"),
        ("10.0.0.7", "the agent web1"),
        ("192.0.2.15", "the allowed range 192.0.2.0/28"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "no host"),
        ("::", "no host"),
        ("224.0.0.5", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("fe80::1", "link-local"),
        ("169.254.169.254", "link-local"),
        ("web1", "is no address"),
        ("10.0.0.0/8", "is no address"),
        ("", "is no address"),
    ],
)
def test_refused_and_explained(address: str, reason: str):
    assert reason in GUARD.refusal_of_address(address)


@pytest.mark.parametrize("address", ["192.0.2.16", "203.0.113.7", "2001:db8::6", "10.0.0.8"])
def test_others_are_not(address: str):
    assert GUARD.refusal_of_address(address) == ""


def test_users():
    assert GUARD.refusal_of_user("root")
    assert not GUARD.refusal_of_user("eve")


@given(st.ip_addresses())
def test_every_address_has_an_answer(address: ipaddress.IPv4Address | ipaddress.IPv6Address):
    said = GUARD.refusal_of_address(str(address))
    if address.is_loopback or address.is_multicast or address.is_unspecified:
        assert said
