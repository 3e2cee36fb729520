import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossec_vectors import REAL_FIXED, REAL_OSSEC, REAL_WAZUH, WEB01

from hids.core.wire.ossec.keys import (
    ClientKey,
    canonical_ip,
    encryption_key,
    export,
    import_exported,
    known_key_hash,
    parse_key,
    read_keys,
)
from hids.errors import RemoteProtocolError

KEY = "0123456789abcdef" * 4


def test_what_a_key_becomes():
    assert encryption_key(WEB01) == b"749f837eafc2a935ba11e3ae35f6adc355ca7fce424e2b9"
    assert encryption_key(REAL_OSSEC) == b"9d452e7ebfe8cae28411769c8ae3ec71b3a3822b1d1bc26"
    assert encryption_key(REAL_FIXED) == b"befb7a2a9af448168c9f011457968b6c4529b9917b3cab0"
    assert encryption_key(REAL_WAZUH) == b"28cd73447ffe5d9912a2edbbb90742dd4c34b2b6459925c"


def test_the_hash_that_is_shown_when_enrolling_again():
    assert known_key_hash(WEB01) == "d21e293b0cfbf6d54b4f11641d581d042bf5de7a"


def test_an_exported_key():
    text = "MDAxIHdlYjAxIGFueSAwMTIzNDU2Nzg5YWJjZGVmZmVkY2JhOTg3NjU0MzIxMDAxMjM0NTY3ODlhYmNkZWZmZWRjYmE5ODc2NTQzMjEw"
    assert export(WEB01) == text
    assert import_exported(f" {text[:40]}\n{text[40:]} ") == WEB01


@given(st.text(max_size=200))
def test_nothing_else_is_imported(text: str):
    with pytest.raises(RemoteProtocolError):
        import_exported(text)


def test_a_file():
    keys, bad, skipped = read_keys(
        f"# made by hand\n 003 skipped any {KEY}\n"
        f"001 web1 any {KEY}\r\n"
        "002 #*#*#*#*#*#*#*#*#*#*#y 0123\n"
        f"004 !gone any {KEY}\n"
        f"1 web-2 10.0.0.0/255.255.255.0 {'b' * 64}\n"
        f"005 web1 any {'c' * 64}\n"
        f"006 other any {KEY}\n"
        f"001 more any {'d' * 64}\n"
        "007 short any 123\n"
        f"x1 name any {KEY}\n"
        f"008 n any {'e' * 64}\n"
        f"009 name here {'f' * 64}\n"
        "010 name\n"
    )
    assert [(key.id, key.name, key.ip) for key in keys] == [("001", "web1", "any"), ("1", "web-2", "10.0.0.0/24")]
    assert [(line.line, line.reason.split(":")[0]) for line in bad] == [
        (7, "agent 005"),
        (8, "agent 006"),
        (9, "agent 001"),
        (10, "agent 007"),
        (11, "expected an id of 1 to 8 digits, got 'x1'"),
        (12, "agent 008"),
        (13, "expected any, an address or address/prefix, got 'here'"),
        (14, "expected ID NAME IP KEY with one space between, got 2 fields"),
    ]
    assert [(line.line, line.id, line.name, line.reason) for line in skipped] == [
        (4, "002", "", "removed on the old manager"),
        (5, "004", "gone", "removed on the old manager"),
    ]
    assert not any(KEY in line.reason for line in (*bad, *skipped)), "secrets are never shown"


@given(st.text())
def test_any_text_is_read(text: str):
    read_keys(text)


@pytest.mark.parametrize(
    ("ip", "address", "admitted"),
    [
        ("any", "192.0.2.7", True),
        ("!any", "192.0.2.7", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.0/24", "192.0.2.8", True),
        ("!192.0.2.0/24", "192.0.2.8", False),
        ("!192.0.2.0/24", "198.51.100.1", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "192.0.2.8", False),
        ("192.0.2.7", "no address", False),
    ],
)
def test_from_where_an_agent_may_speak(ip: str, address: str, admitted: bool):  # noqa: FBT001 - of a table
    assert ClientKey("001", "a1", ip, KEY).admits(address) is admitted


@pytest.mark.parametrize(
    ("ip", "single"),
    [
        ("any", False),
        ("10.0.0.1", True),
        ("10.0.0.1/32", True),
        ("10.0.0.0/8", False),
        ("!10.0.0.1", False),
        ("::1", True),
    ],
)
def test_who_does_not_name_himself(ip: str, single: bool):  # noqa: FBT001 - of a table
    assert ClientKey("001", "a1", ip, KEY).is_single_address is single


def test_masks_become_prefixes():
    assert canonical_ip("10.1.0.0/255.255.0.0") == "10.1.0.0/16"
    assert canonical_ip("!10.1.0.0/16") == "!10.1.0.0/16"


def test_weak_keys_are_known():
    assert not ClientKey("007", "a1", "any", KEY).is_weak
    assert ClientKey("1024", "a1", "any", KEY).is_weak, "ossec-authd's ids begin there"
    assert ClientKey("007", "a1", "any", "correct horse battery".replace(" ", "-")).is_weak


def test_a_line_is_read_as_it_is_written():
    assert parse_key(str(WEB01)) == WEB01
