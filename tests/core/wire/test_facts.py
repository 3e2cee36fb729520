"""Facts share lines where nobody is told of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.facts import pack, unpack
from hids.messages.lines import MAX_LINE_BYTES
from hids.messages.syscheck import FileFact

seen = st.sampled_from(["baseline", "scan", "live"])
facts = st.builds(FileFact, path=st.text(max_size=50), seen=seen, size=st.integers(0, 1 << 60))


@given(st.lists(facts, max_size=30))
def test_nothing_is_lost_and_the_order_stays(many: list[FileFact]):
    lines = list(pack(many))
    assert [fact for line in lines for fact in unpack(line)] == many
    assert len(lines) <= len(many)


def test_news_has_lines_of_its_own():
    many = [FileFact("/a", "baseline"), FileFact("/b", "baseline"), FileFact("/c", "scan"), FileFact("/d", "baseline")]
    assert [len(unpack(line)) for line in pack(many)] == [2, 1, 1]


def test_a_line_is_never_longer_than_lines_are():
    lines = list(pack(FileFact(f"/srv/{number}", "baseline", sha256="ab" * 32) for number in range(5000)))
    assert max(map(len, lines)) <= MAX_LINE_BYTES
    assert sum(len(unpack(line)) for line in lines) == 5000
    assert len(lines) < 20


def test_what_makes_a_fact_too_long_is_left_out():
    long = FileFact("/a", "live", diff="x" * 70_000, xattrs={"user.a": "b"}, sha256="ab")
    (line,) = pack([long])
    (fact,) = unpack(line)
    assert (fact.path, fact.sha256, fact.diff) == ("/a", "ab", "")
    (line,) = pack([msgspec.structs.replace(long, seen="baseline")])
    assert len(line) <= MAX_LINE_BYTES


def test_a_fact_of_an_older_agent():
    assert unpack(msgspec.msgpack.encode({"path": "/a", "seen": "live"})) == (FileFact("/a", "live"),)


@given(st.binary(max_size=200))
def test_any_bytes(text: bytes):
    try:
        unpack(text)
    except msgspec.MsgspecError:
        return


def test_nonsense_is_refused():
    with pytest.raises(msgspec.MsgspecError):
        unpack(b"nonsense")
