"""An alert's document fits the mapping, whatever the alert holds."""

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.alert.document import MAX_NAME, MAX_VALUE, address_of, document, moment_of, whole_of
from hids.core.alert.fields import FIELDS, OTHER, mapped

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "srcip", "a.b", "", "path", "level"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=10,
)
TOPS = [*sorted({field.member.partition(".")[0] for field in FIELDS}), "other"]


def test_an_alert_of_a_login(make_alert: Callable[..., dict[str, Any]]):
    made = document(make_alert(3))
    assert made["@timestamp"] == "2026-11-24T03:21:43.123Z"
    assert made["event"]["severity"] == 5
    assert made["event"]["id"] == "007-1-3"
    assert made["event"]["kind"] == "alert"
    assert made["rule"]["id"] == "200110"
    assert made["source"] == {"address": "192.0.2.7", "ip": "192.0.2.7"}
    assert made["related"] == {"hosts": ["web1"], "ip": ["192.0.2.7"], "user": ["joe"]}
    assert made["host"] == {"name": "web1", "ip": "10.0.0.1"}
    assert made["data"] == {"srcip": "192.0.2.7", "dstuser": "joe"}
    assert made["log"]["file"]["path"] == "/var/log/auth.log"


def test_a_host_name_where_an_address_is_expected(make_alert: Callable[..., dict[str, Any]]):
    made = document(make_alert(1, data={"srcip": "evil.example.org"}))
    assert made["source"] == {"address": "evil.example.org", "domain": "evil.example.org"}
    assert "ip" not in made["related"]


def test_what_is_not_in_the_table_is_kept(make_alert: Callable[..., dict[str, Any]]):
    assert document(make_alert(1, sca={"check": 7}))["hids"]["other"] == '{"sca":{"check":7}}'


def test_many_names_and_long_values_stay_one_bounded_level():
    data = {"a": {"b": {"c": "x" * 100_000}}, "n" * 500: "y", "": "z", "..": "w"}
    made = document({"data": data})["data"]
    assert made == {"a.b.c": "x" * MAX_VALUE, "n" * MAX_NAME: "y", "_": "z", "_._._": "w"}


@given(alert=st.dictionaries(st.sampled_from(TOPS), JSON, max_size=8))
def test_whatever_it_holds_it_fits_the_mapping(alert: dict[str, Any]):
    types = mapped() | {OTHER: "keyword"}
    for name, value in _leaves(document(alert), types):
        assert _fits(types[name], value), (name, value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.7/24", None),
        ("192.0.2.07", None),
        ("-", None),
        ("", None),
    ],
)
def test_addresses(text: str, address: str | None):
    assert address_of(text) == address


@pytest.mark.parametrize(
    "text", ["2026-11-24", "2026-11-24T03:21:43", "12345678901234567890", "2026-13-01T00:00:00Z", ""]
)
def test_no_times(text: str):
    assert moment_of(text) is None


@pytest.mark.parametrize(
    ("value", "whole"), [("22", 22), (-3, -3), ("22x", None), ("²", None), ("9" * 19, None), (True, None)]
)
def test_whole_numbers(value: object, whole: int | None):
    assert whole_of(value) == whole


def _leaves(made: dict[str, Any], types: dict[str, str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in made.items():
        full = f"{prefix}{name}"
        if full in types:
            yield full, value
        else:
            assert isinstance(value, dict), f"{full} is not in the mapping"
            yield from _leaves(value, types, f"{full}.")


def _fits(type_: str, value: Any) -> bool:
    match type_:
        case "long":
            return type(value) is int and -(2**63) <= value < 2**63
        case "boolean":
            return isinstance(value, bool)
        case "date":
            return moment_of(value) is not None
        case "ip":
            values = value if isinstance(value, list) else [value]
            return all(ipaddress.ip_address(each) for each in values)
        case "flat":
            return all(
                isinstance(each, str) and 0 < len(name) <= 2 * MAX_NAME and len(f"{name}{each}".encode()) < 32_766
                for name, each in value.items()
            )
        case _:
            return all(isinstance(each, str) for each in (value if isinstance(value, list) else [value]))
