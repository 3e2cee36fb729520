"""What the kernel says over netlink of sockets that are really there."""

import socket

import pytest

from hids.agent.checks.netlink import NetlinkError, _dump, local_ports, promiscuous


def test_sockets_that_listen_and_those_that_are_bound_only():
    with socket.socket() as listening, socket.socket() as bound, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for sock in (listening, bound, udp):
            sock.bind(("127.0.0.1", 0))
        listening.listen()
        ports = [sock.getsockname()[1] for sock in (listening, bound, udp)]
        used, only_bound = local_ports(socket.AF_INET, socket.IPPROTO_TCP)
        assert ports[0] in used
        assert ports[1] not in used  # a kernel before 6.8 does not tell of it at all
        assert ports[0] not in only_bound
        assert ports[2] in local_ports(socket.AF_INET, socket.IPPROTO_UDP)[0]
        assert ports[0] not in local_ports(socket.AF_INET6, socket.IPPROTO_TCP)[0]


def test_interfaces():
    assert all(count > 0 for count in promiscuous().values())


def test_a_refusal_is_an_error_that_can_be_named():
    with pytest.raises(NetlinkError, match="refuses"):
        list(_dump(4, 9_999, b"\0" * 16))
