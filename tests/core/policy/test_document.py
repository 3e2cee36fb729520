"""YAML with bounds: texts, lists and maps, whatever is written."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hids.core.policy import document
from hids.core.policy.document import Node, read_document
from hids.errors import ConfigError

NODES = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.sampled_from("abc $.é"), max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def read(text: str) -> Node:
    return read_document(text.encode(), "p.yml")


@given(NODES)
def test_what_a_yaml_library_writes_is_read_back(node: Node):
    text = yaml.safe_dump(node, default_style='"', allow_unicode=True)
    assert read(text) == node


@given(st.binary(max_size=300) | st.text(st.sampled_from("a:-[]{}&*!|>'\"\n #%@,?"), max_size=60).map(str.encode))
def test_hostile_bytes_are_read_or_refused(data: bytes):
    try:
        read_document(data, "p.yml")
    except ConfigError as error:
        assert str(error).startswith("p.yml:")


def test_scalars_stay_what_was_written():
    assert read("a: 4.10\nb: no\nc: 0x1F\nd: 2024-01-01\ne: ~\nf:\ng: '~'\nh: \"null\"") == {
        "a": "4.10",
        "b": "no",
        "c": "0x1F",
        "d": "2024-01-01",
        "e": "",
        "f": "",
        "g": "~",
        "h": "null",
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &x [1]\nb: *x", "p.yml:1: anchors and aliases"),
        ("a: 1\nb: *x", "p.yml:2: anchors and aliases"),
        ("a: 1\na: 2", "p.yml:2: 'a' is there twice"),
        ("[a]: 1", "p.yml:1: expected a name"),
        ("a: 1\n---\nb: 2", "p.yml:2: a second document"),
        ("a: 1\n  b: 2", "p.yml:2: not YAML"),
        ("a: [1\n", "p.yml:2: not YAML"),
        ("[" * 40, "nested more than 16"),
        ("[" * 100_000, "nest"),
        ("- " * 5_000, "nested more than 16"),
    ],
)
def test_a_complaint_says_where(text: str, complaint: str):
    with pytest.raises(ConfigError, match="^p.yml:") as caught:
        read(text)
    assert complaint in str(caught.value)


def test_tags_make_nothing():
    assert read("a: !!python/object/apply:os.system ['id']\nb: !!int 5") == {"a": ["id"], "b": "5"}


def test_bytes_that_are_no_text_are_refused_with_their_line():
    with pytest.raises(ConfigError, match="^p.yml:2: not UTF-8"):
        read_document(b"a: 1\nb: \xff", "p.yml")


def test_too_much_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(document, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="larger than 100 bytes"):
        read("a: " + "x" * 200)
    monkeypatch.setattr(document, "MAX_BYTES", 10_000)
    monkeypatch.setattr(document, "MAX_NODES", 100)
    with pytest.raises(ConfigError, match="more than 100 values"):
        read("[" + "1," * 200 + "]")
