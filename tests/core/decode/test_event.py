from hids.core.decode.decoder import DecoderTree
from hids.core.decode.event import Event, decode
from hids.core.decode.header import read_header
from hids.core.decode.load import load_decoders
from hids.core.dialect import Dialect
from hids.core.markup import read
from hids.errors import Problem
from hids.messages import LogLine

P = "<decoder name='p'><prematch>^x </prematch></decoder>"


def tree(text: str, dialect: Dialect) -> DecoderTree:
    problems: list[Problem] = []
    result = load_decoders(read("d", text.encode(), problems, strict=True), dialect, problems)
    assert problems == []
    return result


def event(text: str, log: bytes, dialect: Dialect = "hids", host: bytes | None = None) -> Event:
    line = LogLine("/var/log/x", log, 0, 0)
    result = Event(line, read_header(line, dialect), dialect, host)
    decode(tree(text, dialect), result)
    return result


def child(name: str, body: str) -> str:
    return f"<decoder name='{name}'><parent>p</parent>{body}</decoder>"


def test_an_undecoded_event() -> None:
    e = event(P, b"y")
    assert (e.decoder, e.decoder_name, e.decoder_parent, e.decoder_type, e.fields) == (None, None, None, "syslog", {})
    assert e.dynamic == {}


def test_header_and_stand_in_host() -> None:
    e = event(P, b"Dec 29 10:00:01 web1 app: x y", host=b"boss")
    assert (e.hostname, e.program, e.log, e.timestamp) == (b"web1", b"app", b"x y", b"Dec 29 10:00:01")
    assert event(P, b"x y", host=b"boss").hostname == b"boss"
    assert e.location == "/var/log/x"


def test_a_line_with_a_program_never_meets_decoders_without_one() -> None:
    assert event(P, b"Dec 29 10:00:01 web1 app: x y").decoder is None
    assert event(P, b"x y").decoder_name == "p"


def test_fields_of_a_child_behind_its_parents_match() -> None:
    text = P + child("c", "<regex offset='after_parent'>^(\\w+) (\\w+)</regex><order>user, color</order>")
    e = event(text, b"x joe red")
    assert (e.decoder_name, e.decoder_parent) == ("p", "p")
    assert e.fields == {"dstuser": b"joe", "color": b"red"}


def test_prematch_chooses_the_child_and_its_end_is_a_place_to_go_on() -> None:
    text = (
        P
        + child("a", "<prematch offset='after_parent'>^no</prematch>")
        + child(
            "b",
            "<prematch offset='after_parent'>^k=</prematch>"
            "<regex offset='after_prematch'>^(\\d+)</regex><order>id</order>",
        )
    )
    assert event(text, b"x k=12").fields == {"id": b"12"}
    assert event(text, b"x k=zz").decoder_parent == "p"
    assert event(text, b"x q").decoder_parent is None


def test_a_chain_adds_up_and_after_regex_goes_on_behind_the_last_match() -> None:
    first = "<regex offset='after_parent'>^(\\w+)</regex><order>user</order>"
    missing = "<regex>ZZ(\\d)</regex><order>status</order>"
    then = "<regex offset='after_regex'>^ (\\w+)</regex><order>id</order>"
    text = P + child("c", first) + child("c", missing) + child("c", then)
    assert event(text, b"x joe 42").fields == {"dstuser": b"joe", "id": b"42"}


def test_static_fields_take_the_last_value_and_dynamic_ones_of_ours_the_first() -> None:
    text = (
        P
        + child("c", "<regex>a(\\d)(\\d)</regex><order>id, n</order>")
        + child("c", "<regex>b(\\d)(\\d)</regex><order>id, n</order>")
    )
    assert event(text, b"x a12 b34").fields == {"id": b"3", "n": b"2"}
    assert event(text, b"x a12 b34", "ossec").fields == {"id": b"3", "n": b"4"}


def test_an_unset_group_leaves_its_field_unset_in_ours() -> None:
    text = P + child("c", "<regex>(A)?(b)</regex><order>id, url</order>")
    assert event(text, b"x b").fields == {"url": b"b"}


def test_rules_of_ossec_see_dynamic_fields_of_the_last_decoder_only() -> None:
    text = (
        P
        + child("c", "<regex>a=(\\d)</regex><order>Alpha</order>")
        + child("c", "<regex>g=(\\d)</regex><order>Gamma</order>")
    )
    e = event(text, b"x a=1 g=2", "ossec")
    assert e.fields == {"Alpha": b"1", "Gamma": b"2"}
    assert e.dynamic == {"gamma": b"2"}
    assert event(text, b"x a=1 g=2").dynamic == {"Alpha": b"1", "Gamma": b"2"}


def test_a_regex_may_change_what_the_decoder_is() -> None:
    text = P + child("n", "<use_own_name>true</use_own_name><regex>z=(\\d)</regex><order>id</order>")
    e = event(text, b"x z=5")
    assert e.selection is not None
    assert not e.selection.settled
    assert e.decoder_name == "n"
    assert event(text, b"x").decoder_name is None
    assert event(text, b"x q").decoder_name == "p"


def test_ossec_rewrites_a_firewalls_action() -> None:
    head = "<decoder name='f'><type>firewall</type><prematch>^fw </prematch>"
    text = head + "<regex>^fw (\\w+)</regex><order>action</order></decoder>"
    for written, action in [(b"deny", b"DROP"), (b"Permit", b"ALLOW"), (b"teardown", b"CLOSED"), (b"xyz", b"UNKNOWN")]:
        assert event(text, b"fw " + written, "ossec").fields == {"action": action}
