import pytest

from hids.core.decode.event import Event
from hids.core.decode.header import Header
from hids.core.pattern.pattern import Pattern
from hids.core.rules.conditions import (
    AddressIn,
    Category,
    Condition,
    DecodedAs,
    DynamicMatches,
    FieldEquals,
    FieldMatches,
    Hostname,
    LogMatches,
    ProgramName,
    field,
    fields_of,
    network,
)
from hids.messages import LogLine


def event(program: bytes | None = None, **fields: bytes) -> Event:
    header = Header(None, None, program, b"the log", b"the log")
    result = Event(LogLine("f", b"", 0, 0), header, "hids", b"web1")
    result._fields = fields
    result._dynamic = fields
    return result


A = Pattern("pcre2", b"^a")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (LogMatches(Pattern("pcre2", b"^the")), True),
        (LogMatches(A), False),
        (ProgramName(A), True),
        (ProgramName(Pattern("pcre2", b"^b")), False),
        (Hostname(Pattern("pcre2", b"^web")), True),
        (FieldMatches(("id",), A), True),
        (FieldMatches(("url",), A), False),
        (FieldMatches(("url", "id"), A), True),
        (FieldEquals("id", b"abc"), True),
        (FieldEquals("id", b"ab"), False),
        (DynamicMatches("id", A), True),
        (DynamicMatches("no", A), False),
        (DecodedAs("x"), False),
        (Category("syslog"), True),
        (Category("ids"), False),
        (Category("firewall"), False),
    ],
)
def test_conditions(condition: Condition, *, holds: bool) -> None:
    assert condition.holds(event(b"app", id=b"abc")) is holds


@pytest.mark.parametrize("condition", [ProgramName(A), Hostname(A), FieldMatches(("id",), A)])
def test_what_is_missing_does_not_hold(condition: Condition) -> None:
    empty = event()
    empty.host = None
    assert condition.holds(empty) is False


@pytest.mark.parametrize(
    ("entries", "address", "holds"),
    [
        (["10.0.0.0/8", "192.168.1.1"], b"10.2.3.4", True),
        (["10.0.0.0/8", "192.168.1.1"], b"192.168.1.1", True),
        (["10.0.0.0/8"], b"8.8.8.8", False),
        (["10.0.0.0/255.0.0.0"], b"10.1.1.1", True),
        (["!172.16.0.0/12"], b"8.8.8.8", True),
        (["!172.16.0.0/12"], b"172.16.4.4", False),
        (["!10.0.0.1", "!10.0.0.2"], b"10.0.0.2", False),
        (["10.0.0.0/8"], b"::ffff:10.1.1.1", True),
        (["2001:db8::/32"], b"2001:db8::1", True),
        (["2001:db8::/32"], b"10.1.1.1", False),
        (["any"], b"1.2.3.4", True),
        (["!any"], b"1.2.3.4", False),
        (["10.0.0.0/8"], b"hostname", False),
        (["!10.0.0.0/8"], b"hostname", False),
        (["10.0.0.0/8"], b"10.1.1.\xff", False),
    ],
)
def test_addresses(entries: list[str], address: bytes, *, holds: bool) -> None:
    condition = AddressIn("srcip", tuple(map(network, entries)))
    assert condition.holds(event(srcip=address)) is holds
    assert condition.holds(event()) is False


@pytest.mark.parametrize("text", ["10.0.0.0/33", "web1", "", "1.2.3"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        network(text)


def test_field_takes_the_first_that_is_there() -> None:
    e = event(srcuser=b"joe")
    assert field(e, ("dstuser", "srcuser")) == b"joe"
    assert field(e, ("dstuser",)) is None


def test_fields_that_a_condition_needs() -> None:
    assert fields_of(FieldMatches(("a", "b"), A)) == ("a", "b")
    assert fields_of(AddressIn("srcip", ())) == ("srcip",)
    assert fields_of(LogMatches(A)) == ()


def test_equal_conditions_are_one_question() -> None:
    assert len({LogMatches(A), LogMatches(Pattern("pcre2", b"^a"))}) == 1
    different: list[Condition] = [LogMatches(A), ProgramName(A), Hostname(A), FieldMatches(("id",), A)]
    assert len(set(different)) == 4
