import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.dialect import Dialect
from hids.core.pattern.pattern import Pattern
from hids.core.rules.lists import LOOKUPS, ListTable, Lookup, read_list

TEXT = b"10.1.1.1:bad\n10.2.:net\r\n192.168.1.5:good\n\njoe:admin\nalone\njoe:other\n"
ENTRIES = {b"10.1.1.1": b"bad", b"10.2.": b"net", b"192.168.1.5": b"good", b"joe": b"admin", b"alone": b""}


@pytest.mark.parametrize("dialect", ["ossec", "wazuh", "hids"])
def test_a_list_is_a_key_and_a_value_a_line(dialect: Dialect) -> None:
    assert read_list(TEXT, dialect) == ENTRIES


def test_ossecs_comments_and_wazuhs_quotes() -> None:
    text = b'a:1 ### why\n"b:c":"d:e"\n"f":g\n'
    assert read_list(text, "ossec") == {b"a": b"1", b'"b': b'c":"d:e"', b'"f"': b"g"}
    assert read_list(text, "wazuh") == {b"a": b"1 ### why", b"b:c": b"d:e", b"f": b"g"}


@pytest.mark.parametrize(
    ("lookup", "key", "holds"),
    [
        ("match_key", b"10.1.1.1", True),
        ("match_key", b"10.2.3.4", False),
        ("not_match_key", b"10.1.1.1", False),
        ("not_match_key", b"10.2.3.4", True),
        ("match_key_value", b"10.1.1.1", True),
        ("match_key_value", b"192.168.1.5", False),
        ("match_key_value", b"9.9.9.9", False),
        ("address_match_key", b"10.1.1.1", True),
        ("address_match_key", b"10.2.3.4", True),
        ("address_match_key", b"9.9.9.9", False),
        ("not_address_match_key", b"10.2.3.4", False),
        ("not_address_match_key", b"9.9.9.9", True),
        ("address_match_key_value", b"10.1.1.1", False),
        ("address_match_key_value", b"192.168.1.5", True),
        ("address_match_key_value", b"9.9.9.9", True),
    ],
)
def test_lookups(lookup: Lookup, key: bytes, *, holds: bool) -> None:
    value = Pattern("os_match", b"ba") if lookup.endswith("_value") else None
    assert ListTable("l", ENTRIES, "ossec").holds(lookup, key, value) is holds


@pytest.mark.parametrize("key", [b"10.1.1.1", b"192.168.1.5", b"9.9.9.9"])
def test_ours_does_not_invert(key: bytes) -> None:
    table, value = ListTable("l", ENTRIES, "hids"), Pattern("pcre2", b"ba")
    assert table.holds("address_match_key_value", key, value) is (key == b"10.1.1.1")


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_nothing_holds_for_a_list_that_is_not_there(lookup: Lookup) -> None:
    assert ListTable("l", None, "ossec").holds(lookup, b"10.1.1.1", Pattern("os_match", b"x")) is False


def test_lists_are_equal_by_name() -> None:
    assert ListTable("a", {}) == ListTable("a", None)
    assert len({ListTable("a", {}), ListTable("a", None), ListTable("b", {})}) == 2


@given(st.binary(max_size=200), st.sampled_from(["ossec", "wazuh", "hids"]))
def test_any_text_is_a_list(text: bytes, dialect: Dialect) -> None:
    assert all(b"\n" not in key and key for key in read_list(text, dialect))
