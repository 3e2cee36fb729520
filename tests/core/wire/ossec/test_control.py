import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.control import (
    ACK,
    MAX_KEEPALIVE_BYTES,
    KeepAlive,
    Request,
    Shutdown,
    Startup,
    keepalive,
    read_control,
    read_from_manager,
)
from hids.errors import RemoteProtocolError

SUM = "0123456789abcdef0123456789abcdef"


def alive(text: bytes) -> KeepAlive:
    said = read_control(text)
    assert isinstance(said, KeepAlive)
    return said


def test_an_ossec_agent():
    said = alive(
        b"#!-Linux web1 6.1.0 #1 SMP x86_64 - OSSEC HIDS v4.2.0 / " + SUM.encode() + b"\n"
        b"aaaabbbbccccddddaaaabbbbccccdddd merged.mg\n\nr4nd0m merged.mg!@#"
    )
    assert said.product == "ossec"
    assert said.version == (4, 2, 0)
    assert said.software == "OSSEC HIDS v4.2.0"
    assert said.os == "Linux web1 6.1.0"
    assert said.merged == "aaaabbbbccccddddaaaabbbbccccdddd"


def test_a_wazuh_agent():
    said = alive(
        b"#!-Linux |host |6.1.0 |#1 SMP |x86_64 [Debian GNU/Linux|debian: 12 (bookworm)] - Wazuh v4.14.7\n"
        b'"env":prod\n!"secret":x y\n#"_agent_ip":192.0.2.7\n' + SUM.encode() + b" merged.mg\n"
    )
    assert said.product == "wazuh"
    assert said.version == (4, 14, 7)
    assert said.os == "Debian GNU/Linux"
    assert said.merged == SUM
    assert said.labels == (("env", "prod"), ("secret", "x y"))
    assert said.address == "192.0.2.7"


def test_an_agent_without_shared_files_and_one_that_says_nothing():
    assert alive(b"#!-Linux a - OSSEC HIDS v3.6.0\nx merged.mg\n\n").merged == "x"
    assert alive(b"#!-Linux a - OSSEC HIDS v2.8\n" + SUM.encode() + b" agent.conf\n\n").merged == ""
    assert alive(b"#!-nonsense").product == ""


def test_what_would_be_obeyed_by_a_terminal_is_taken_out():
    said = alive(b"#!-Linux \x1b[2J\xff a - OSSEC HIDS v4.2.0\x07\nx merged.mg\n")
    assert said.system.isprintable()
    assert said.software.isprintable()
    assert len(alive(b"#!-" + b"a" * 5000 + b" - OSSEC HIDS v4\n").system) <= 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"#!-agent startup ", Startup()),
        (b'#!-agent startup {"version":"v4.14.7"}', Startup("v4.14.7")),
        (b"#!-agent startup {nonsense}", Startup()),
        (b"#!-agent shutdown ", Shutdown()),
        (b"#!-req 17 ok {}", Request("17", b"ok {}")),
    ],
)
def test_the_other_messages(text: bytes, said: object):
    assert read_control(text) == said


@given(st.binary())
def test_anything_is_read(text: bytes):
    read_control(b"#!-" + text)


def test_what_our_agent_says_is_what_a_manager_reads():
    text = keepalive("Linux web1 6.1.0 #1 SMP x86_64", "OSSEC HIDS v4.2.0", SUM)
    said = alive(text)
    assert (said.product, said.merged) == ("ossec", SUM)
    assert b" - " in text.partition(b"\n")[0]
    assert len(keepalive("x" * 5000, "OSSEC HIDS v4.2.0", "")) <= MAX_KEEPALIVE_BYTES


def test_what_a_manager_says():
    assert read_from_manager(ACK) == ("ack", b"")
    assert read_from_manager(b"#!-up file abc merged.mg\n") == ("up", b"abc merged.mg\n")
    assert read_from_manager(b"#!-close file ") == ("close", b" ")
    assert read_from_manager(b"#!-execd restart-ossec0 - null")[0] == "execd"
    assert read_from_manager(b"#!-agent ack")[0] == "unknown", "the final blank is part of it"
    with pytest.raises(RemoteProtocolError):
        read_from_manager(b"1:x:y")
