"""Orders of an OSSEC manager, looked up in its ar.conf."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.executed import as_order, read_ar_conf
from hids.core.wire.ossec.response import decode
from hids.errors import RemoteProtocolError

CONF = """\
restart-ossec0 - restart-ossec.cmd - 0
restart-ossec0 - restart-ossec.sh - 0
firewall-drop600 - firewall-drop.sh - 600
own60 - own.sh - 60
bad - ../../bin/sh - 60
bad - /bin/sh - 60
forever - own.sh - 99999999
"""


def test_names_are_looked_up():
    known = read_ar_conf(CONF)
    assert known == {
        "restart-ossec0": ("restart-ossec.sh", 0),
        "firewall-drop600": ("firewall-drop.sh", 600),
        "own60": ("own.sh", 60),
        "forever": ("own.sh", 366 * 86_400),
    }
    order = as_order(decode(b"firewall-drop600 - 192.0.2.7 1795488829.1 5712 (web) any->/x (null)"), known, 1000)
    assert (order.action, order.until_ms, order.id) == (
        "firewall-drop",
        601_000,
        "ossec:firewall-drop600:1795488829.1:192.0.2.7",
    )
    assert as_order(decode(b"own60 eve 192.0.2.7 1.1 5712 x y"), known, 0).action == "own.sh"
    restart = as_order(decode(b"restart-ossec0 - null (from_the_server) (no_rule_id)"), known, 5)
    assert (restart.action, restart.address, restart.until_ms) == ("restart", "", 0)
    with pytest.raises(RemoteProtocolError, match="not in the ar.conf"):
        as_order(decode(b"bad - 192.0.2.7 1.1 5712 x y"), known, 0)


@given(st.text())
def test_any_ar_conf_is_read(text: str):
    for executable, timeout_s in read_ar_conf(text).values():
        assert "/" not in executable
        assert 0 <= timeout_s <= 366 * 86_400
