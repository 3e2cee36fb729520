import socket

import pytest

from hids.adapters.listening import listen_udp
from hids.errors import ConfigError
from hids.manager.port import Port


def test_the_first_life_takes_the_socket_of_the_start_and_later_ones_the_same_port() -> None:
    port = Port("[listen] agents", "127.0.0.1:0")
    for _ in range(3):
        with port.open() as listening:
            assert listening.getsockname() == ("127.0.0.1", port.number)
            with socket.create_connection(("127.0.0.1", port.number)):
                pass


def test_udp() -> None:
    port = Port("[[syslog]] number 1", "127.0.0.1:0", listen_udp)
    with port.open() as listening:
        assert listening.type == socket.SOCK_DGRAM
        assert listening.getsockname()[1] == port.number


def test_a_port_that_is_taken_is_named_by_its_setting() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ConfigError, match=r"^\[metrics\] listen: cannot listen on 127\.0\.0\.1:"),
    ):
        Port("[metrics] listen", f"127.0.0.1:{other.getsockname()[1]}")
