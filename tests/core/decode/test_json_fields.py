import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.decode.fields import MAX_DYNAMIC, Fields
from hids.core.decode.json_fields import MAX_DEPTH, take_json


def taken(text: str | bytes, null: bytes | None = b"null", *, csv: bool = False) -> Fields:
    fields = Fields()
    take_json(text if isinstance(text, bytes) else text.encode(), fields, null=null, csv=csv)
    return fields


def shown(text: str | bytes, null: bytes | None = b"null", *, csv: bool = False) -> dict[str, str]:
    fields = taken(text, null, csv=csv)
    return {name: value.decode() for name, value in (fields.static | fields.dynamic).items()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"x"', "x"),
        ('""', ""),
        ("1", "1"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("2.5", "2.500000"),
        ("0.1", "0.100000"),
        ("2147483647", "2147483647"),
        ("2147483648", "2147483648.000000"),
        ("12345678901", "12345678901.000000"),
        ("1e999", "inf"),
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("[]", "[]"),
        ('[1, "two", 2.5, 12345678901, null, true]', '[1, "two", 2.5, 12345678901, null, true]'),
        ('[{"a":1,"b":[{}]}]', '[{\n\t\t"a":\t1,\n\t\t"b":\t[{\n\t\t\t}]\n\t}]'),
        ('["\\u00e9\\u0001\\n\\"/"]', '["é\\u0001\\n\\"/"]'),
        ('"a\\u0000b"', "a"),
    ],
)
def test_a_value_as_text(text: str, value: str) -> None:
    assert shown('{"k":' + text + "}") == {"k": value}


def test_names_of_nested_members() -> None:
    assert shown('{"a":{"b":{"c":"x"},"d":1},"e":{},"a.d":9}') == {"a.b.c": "x", "a.d": "1"}


def test_static_fields_are_those_at_the_top() -> None:
    fields = taken('{"srcip":"1.2.3.4","systemname":"s","system_name":"t","SRCIP":"5","x":{"srcip":"6"},"data":7}')
    assert fields.static == {"srcip": b"1.2.3.4", "system_name": b"s", "data": b"7"}
    assert fields.dynamic == {"system_name": b"t", "SRCIP": b"5", "x.srcip": b"6"}


def test_user_is_dstuser_while_there_is_none() -> None:
    assert taken('{"user":"u","dstuser":"d"}').static == {"dstuser": b"d"}
    other = taken('{"dstuser":"d","user":"u"}')
    assert (other.static, other.dynamic) == ({"dstuser": b"d"}, {"user": b"u"})


def test_nulls_may_be_left_out_and_arrays_be_comma_separated() -> None:
    text = '{"n":null,"a":[1,"two",{"z":1},[3],true,null],"e":[],"o":[{}]}'
    assert shown(text, None, csv=True) == {"a": "1,two,true,null"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        '{"a":1',
        '{"a":NaN}',
        '{"a":Infinity}',
        "{'a':1}",
        '{"a":"\\x"}',
        '{"a":"\\ud800"}',
        '{"a":"\\udc80"}',
        "[1]",
        "7",
        '"x"',
        "null",
        b"\xff",
        "{" * 100_000,
        "[" * 100_000,
        '{"a":' * 30_000,
    ],
)
def test_of_what_is_no_json_object_nothing_is_taken(text: str | bytes) -> None:
    assert shown(text) == {}


def test_what_follows_the_object_and_stands_before_it() -> None:
    assert shown('\ufeff \t\r\n{"a":1}trailing') == {"a": "1"}


def test_a_pair_of_surrogates_is_a_character_and_an_escaped_backslash_none() -> None:
    assert shown('{"a":"\\ud83d\\ude00","b":"\\\\ud800"}') == {"a": "😀", "b": "\\ud800"}


def test_bytes_that_are_no_utf8_are_kept() -> None:
    assert taken(b'{"a":"\xff\xe9"}').dynamic == {"a": b"\xff\xe9"}


def test_bounds() -> None:
    many = "{" + ",".join(f'"k{i}":{i}' for i in range(2 * MAX_DYNAMIC)) + "}"
    assert len(taken(many).dynamic) == MAX_DYNAMIC
    deep = '{"a":' * (MAX_DEPTH + 9) + "1" + ',"b":2}' * (MAX_DEPTH + 9)
    assert len(taken(deep).dynamic) <= MAX_DEPTH
    listed = '{"a":' + "[" * 900 + "]" * 900 + "}"
    assert len(taken(listed).dynamic.get("a", b"")) < 1000


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_text_is_read(text: bytes) -> None:
    taken(text)
    taken(b'{"a":' + text + b"}", None, csv=True)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=3), values, max_size=4))
def test_any_object_gives_fields_that_are_bytes(members: dict[str, object]) -> None:
    text = json.dumps(members)
    fields = taken(text)
    plain = {name for name, value in members.items() if not isinstance(value, dict)}
    assert len({name.partition("\0")[0] for name in plain}) <= len(fields.dynamic) + len(fields.static)
