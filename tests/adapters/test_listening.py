"""Binding ports, and the words when that fails."""

import pytest

from hids.adapters.listening import listen
from hids.errors import ConfigError


def test_a_port_in_use_is_named():
    with listen("127.0.0.1", 0, "agents") as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"agents: cannot listen on 127\.0\.0\.1:{port}: another program"):
            listen("127.0.0.1", port, "agents")


def test_an_address_of_another_machine():
    with pytest.raises(ConfigError, match="this machine has no such address"):
        listen("203.0.113.1", 0, "join")


@pytest.mark.parametrize("host", ["", "::", "0.0.0.0", "127.0.0.1"])
def test_port_zero_is_any_free_one(host: str):
    with listen(host, 0, "agents") as sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()
