import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.decode.fields import Fields
from hids.core.decode.plugins import PLUGINS
from hids.core.dialect import Dialect


def taken(name: str, log: bytes, dialect: Dialect = "wazuh") -> Fields:
    fields = Fields()
    PLUGINS[name](log, fields, dialect)
    return fields


@pytest.mark.parametrize(
    ("log", "static"),
    [
        (
            b"rule 73/(match) pass in on em0: 1.2.3.4.1024 > 5.6.7.8.53:  udp 56",
            {
                "action": b"pass",
                "srcip": b"1.2.3.4",
                "srcport": b"1024",
                "dstip": b"5.6.7.8",
                "dstport": b"53",
                "protocol": b"UDP",
            },
        ),
        (
            b"rule 3/(match) block in on em0: 1.2.3.4 > 5.6.7.8: icmp: echo",
            {"action": b"block", "srcip": b"1.2.3.4", "dstip": b"5.6.7.8", "protocol": b"ICMP"},
        ),
        (
            b"rule 3/(match) block in on em0: 1.2.3.4 > 5.6.7.8: S 1:1(0)",
            {"action": b"block", "srcip": b"1.2.3.4", "dstip": b"5.6.7.8", "protocol": b"TCP"},
        ),
        (b"rule 3/0(match): block in on em0: 1.2.3.4 > 5.6.7.8: icmp: echo", {}),
        (b"rule 3/(match) match in on em0: 1.2.3.4", {}),
        (b"rule 3/(match) pass in", {"action": b"pass"}),
        (b"rule 3/(match) pass in on em0: 1.2.3.4 x", {"action": b"pass", "srcip": b"1.2.3.4"}),
        (b"", {}),
    ],
)
def test_pf(log: bytes, static: dict[str, bytes]) -> None:
    assert taken("PF_Decoder", log).static == static


def test_symantec_web_security() -> None:
    log = b"date,10=joe,11=192.0.2.7,3=1,2=5,60=http://a/b,10=ann"
    assert taken("SymantecWS_Decoder", log).static == {
        "dstuser": b"joe",
        "srcip": b"192.0.2.7",
        "url": b"http://a/b",
        "id": b"3=1,2=5,6",
    }
    assert taken("SymantecWS_Decoder", b"10=joe").static == {}


SONIC = b"id=firewall pri=1 c=%d m=%d msg src=1.2.3.4:5:X1 dst=5.6.7.8:90:X0 proto=tcp/http"
ENDS = {"srcip": b"1.2.3.4", "srcport": b"5", "dstip": b"5.6.7.8", "dstport": b"90", "protocol": b"tcp"}


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize(
    ("category", "message", "kind", "action"),
    [
        (4, 5, "syslog", None),
        (32, 82, "ids", None),
        (4, 98, "firewall", b"pass"),
        (4, 36, "firewall", b"drop"),
        (4, 537, "firewall", b"close"),
    ],
)
def test_sonicwall(dialect: Dialect, category: int, message: int, kind: str, action: bytes | None) -> None:
    fields = taken("SonicWall_Decoder", SONIC % (category, message), dialect)
    expected = {"status": b"1", "id": b"%d" % message} | ENDS
    assert fields.static == expected | ({} if action is None else {"action": action})
    assert fields.type == kind


def test_sonicwall_pages_and_stubs() -> None:
    page = taken("SonicWall_Decoder", SONIC % (4, 97) + b" result=200 dstname=example.org arg=/a")
    assert (page.type, page.static["id"], page.static["url"]) == ("squid", b"200", b"example.org/a")
    assert taken("SonicWall_Decoder", b"pri=1 c=32 m=82 nothing").static == {"status": b"1", "id": b"82"}
    nothing = taken("SonicWall_Decoder", b"nothing")
    assert (nothing.type, nothing.static) == ("syslog", {})


def test_a_relayed_alert() -> None:
    log = (
        b"ossec: Alert Level: 5; Rule: 5716 - sshd: failed.; Location: (web1) 10.0.0.1->/var/log/auth.log;"
        b" srcip: 192.0.2.7; user: joe; Nov 24 web1 sshd[7]: Failed; really"
    )
    fields = taken("OSSECAlert_Decoder", log)
    assert fields.relayed_rule == 5716
    assert fields.static == {"srcip": b"192.0.2.7", "dstuser": b"joe"}
    assert fields.location == b"(web1) 10.0.0.1->/var/log/auth.log"
    assert fields.text == b"Nov 24 web1 sshd[7]: Failed; really"


@pytest.mark.parametrize(
    "log",
    [b"", b"Alert Level: 5", b"Alert Level: 5; Rule: x - y; Location: z; t", b"Alert Level: 5; Rule: 1 - y"],
)
def test_what_is_no_relayed_alert(log: bytes) -> None:
    assert taken("OSSECAlert_Decoder", log).relayed_rule is None


words = st.sampled_from(
    [
        *(b"(match) ", b"pass ", b": ", b"> ", b"1.2.3.4.5", b",10=", b",3=", b"pri=1 c=32 m=97 ", b"src=", b";", b" "),
        *(b"Alert Level: 5", b"; Rule: 7 - ", b"; Location: ", b"srcip: ", b"\xff", b"proto=", b"/", b"x"),
    ]
)


@given(
    st.sampled_from(sorted(PLUGINS)), st.lists(words, max_size=12).map(b"".join), st.sampled_from(["ossec", "wazuh"])
)
def test_any_log_is_taken_apart(name: str, log: bytes, dialect: Dialect) -> None:
    fields = taken(name, log, dialect)
    assert all(isinstance(value, bytes) for value in fields.static.values())


@pytest.mark.parametrize("unit", [b",", b",3=", b"; ", b"(", b"pri=1 c=1 m=1 ", b"1.", b": > "])
@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_a_long_log_takes_no_longer_than_it_must(name: str, unit: bytes) -> None:
    taken(name, (unit * 65_536)[:65_536])  # the suite's time limit tells
