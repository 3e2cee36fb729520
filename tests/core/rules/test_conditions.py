import msgspec
import pytest

from hids.core.decode.event import NOWHERE, Event, Origin
from hids.core.decode.header import Header
from hids.core.decode.reading import Reading
from hids.core.pattern.pattern import Pattern
from hids.core.rules.conditions import (
    AddressIn,
    Category,
    Compiled,
    Condition,
    DayIn,
    DecodedAs,
    DynamicMatches,
    FieldEquals,
    FieldMatches,
    Hostname,
    InList,
    Location,
    LogMatches,
    ProgramName,
    SizeAtLeast,
    TimeIn,
    field,
    fields_of,
    network,
)
from hids.core.rules.lists import ListTable
from hids.core.rules.schedule import days, hours
from hids.messages.lines import LogLine


def event(program: bytes | None = None, **fields: bytes) -> Event:
    header = Header(None, None, program, b"the log", b"the log")
    reading = Reading(b"the log", "hids", rewrites=False, _all=fields, _dynamic=fields)
    return Event(LogLine("f", b"", 0, 0), header, reading, Origin(b"web1"))


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
        (Category("syslog", ("id",)), True),
        (Category("syslog", ("id", "url")), False),
        (Location(Pattern("pcre2", b"^f$")), True),
        (Location(A), False),
        (SizeAtLeast(7), True),
        (SizeAtLeast(8), False),
        (TimeIn(hours("0:00 - 0:01", "hids")), True),
        (TimeIn(hours("0:01 - 0:02", "hids")), False),
        (DayIn(days("thursday")), True),
        (DayIn(days("weekends")), False),
        (Compiled("check_id_size"), False),
        (InList(("url", "id"), "match_key", ListTable("l", {b"abc": b""})), True),
        (InList(("program_name",), "match_key", ListTable("l", {b"app": b""})), True),
        (InList(("hostname",), "not_match_key", ListTable("l", {b"app": b""})), True),
        (InList(("url",), "not_match_key", ListTable("l", {b"app": b""})), False),
    ],
)
def test_conditions(condition: Condition, *, holds: bool) -> None:
    assert condition.holds(event(b"app", id=b"abc")) is holds


@pytest.mark.parametrize(
    "condition",
    [
        LogMatches(A),
        ProgramName(A),
        Hostname(A),
        Location(A),
        FieldMatches(("id",), A),
        FieldEquals("id", b"abc"),
        DynamicMatches("id", A),
    ],
)
def test_a_negated_condition_is_the_opposite(condition: Condition) -> None:
    given = event(b"app", id=b"abc")
    opposite = msgspec.structs.replace(condition, negated=True)
    assert opposite.holds(given) is not condition.holds(given)


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("condition", [ProgramName(A), Hostname(A), FieldMatches(("id",), A), FieldEquals("id", b"x")])
def test_what_is_missing_does_not_hold(condition: Condition, *, negated: bool) -> None:
    condition = msgspec.structs.replace(condition, negated=negated)
    empty = event()
    empty.origin = NOWHERE
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


@pytest.mark.parametrize(
    ("address", "holds", "negated"),
    [
        (b"10.2.3.4", True, False),
        (b"172.16.0.1", True, False),
        (b"8.8.8.8", False, True),
        (b"::ffff:10.1.1.1", False, True),
        (b"hostname", False, True),
    ],
)
def test_wazuhs_addresses_lose_their_bang_and_are_negated_as_a_whole(
    address: bytes, *, holds: bool, negated: bool
) -> None:
    entries = tuple(map(network, ["10.0.0.0/8", "!172.16.0.0/12"]))
    assert AddressIn("srcip", entries, "any").holds(event(srcip=address)) is holds
    assert AddressIn("srcip", entries, "any", negated=True).holds(event(srcip=address)) is negated


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
