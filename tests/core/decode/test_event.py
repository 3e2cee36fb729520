from hids.core.decode.decoder import DecoderTree
from hids.core.decode.event import NOWHERE, Event, Origin, decode, undecoded
from hids.core.decode.load import load_decoders
from hids.core.dialect import Dialect
from hids.core.markup import read
from hids.errors import Problem
from hids.messages.lines import LogLine

P = "<decoder name='p'><prematch>^x </prematch></decoder>"


def tree(text: str, dialect: Dialect) -> DecoderTree:
    problems: list[Problem] = []
    result = load_decoders(read("d", text.encode(), problems, strict=True), dialect, problems)
    assert problems == []
    return result


def event(text: str, log: bytes, dialect: Dialect = "hids", origin: Origin = NOWHERE) -> Event:
    result = undecoded(LogLine("/var/log/x", log, 0, 0), dialect, origin)
    decode(tree(text, dialect), result)
    return result


def child(name: str, body: str) -> str:
    return f"<decoder name='{name}'><parent>p</parent>{body}</decoder>"


def test_an_undecoded_event() -> None:
    e = event(P, b"y")
    assert (e.decoder, e.decoder_name, e.decoder_parent, e.decoder_type, e.fields) == (None, None, None, "syslog", {})
    assert e.dynamic == {}


def test_header_and_stand_in_host() -> None:
    e = event(P, b"Dec 29 10:00:01 web1 app: x y", origin=Origin(b"boss"))
    assert (e.hostname, e.program, e.log, e.timestamp) == (b"web1", b"app", b"x y", b"Dec 29 10:00:01")
    assert event(P, b"x y", origin=Origin(b"boss")).hostname == b"boss"
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
    assert e.reading.selection is not None
    assert not e.reading.selection.settled
    assert e.decoder_name == "n"
    assert event(text, b"x").decoder_name is None
    assert event(text, b"x q").decoder_name == "p"


def test_ossec_rewrites_a_firewalls_action() -> None:
    head = "<decoder name='f'><type>firewall</type><prematch>^fw </prematch>"
    text = head + "<regex>^fw (\\w+)</regex><order>action</order></decoder>"
    for written, action in [(b"deny", b"DROP"), (b"Permit", b"ALLOW"), (b"teardown", b"CLOSED"), (b"xyz", b"UNKNOWN")]:
        assert event(text, b"fw " + written, "ossec").fields == {"action": action}


W = "<decoder name='w'><prematch>^x </prematch><type>ids</type></decoder>"


def below(name: str, body: str) -> str:
    return f"<decoder name='{name}'><parent>w</parent>{body}</decoder>"


def test_in_wazuh_only_a_prematch_changes_the_decoder() -> None:
    own = "<use_own_name>true</use_own_name><type>squid</type>"
    text = W + below("n", own + "<regex>z=(\\d)</regex><order>id</order>")
    e = event(text, b"x z=5", "wazuh")
    assert (e.decoder_name, e.decoder_type, e.fields) == ("w", "ids", {"id": b"5"})
    chosen = event(W + below("n", own + "<prematch>z</prematch>"), b"x z=5", "wazuh")
    assert (chosen.decoder_name, chosen.decoder_parent, chosen.decoder_type) == ("n", "w", "squid")


def test_wazuhs_groups_keep_their_places_and_unset_ones_are_empty() -> None:
    text = "<decoder name='w'><prematch>^x </prematch><regex type='pcre2'>([A-Z]+)|(\\d+)|(-)</regex><order>user,id,url</order></decoder>"
    assert event(text, b"x 12", "wazuh").fields == {"dstuser": b"", "id": b"12"}
    assert event(text, b"x AB", "wazuh").fields == {"dstuser": b"AB"}


def test_wazuhs_dynamic_fields_add_up_and_ignore_case() -> None:
    text = (
        W
        + below("c", "<regex>a=(\\d)</regex><order>Alpha</order>")
        + below("c", "<regex>g=(\\d) h=(\\d)</regex><order>ALPHA,Alpha</order>")
    )
    e = event(text, b"x a=1 g=2 h=3 ", "wazuh")
    assert e.fields == {"Alpha": b"1", "ALPHA": b"2"}
    assert e.dynamic == {"alpha": b"1"}


def test_plug_ins_in_a_chain_go_on_in_wazuh_and_end_it_in_ossec() -> None:
    log = b"x (m) pass in: 1.2.3.4 > 5.6.7.8: udp k=v "
    plug_in = "<plugin_decoder>PF_Decoder</plugin_decoder>"
    text = W + below("c", plug_in) + below("c", "<regex>k=(\\S+) </regex><order>url</order>")
    e = event(text, log, "wazuh")
    assert (e.fields["srcip"], e.fields["protocol"], e.fields["url"]) == (b"1.2.3.4", b"UDP", b"v")
    assert "url" not in event(W + below("c", plug_in), log, "ossec").fields


def test_json_behind_a_prematch_with_the_options_of_the_events_decoder() -> None:
    plug_in = (
        "<plugin_decoder offset='after_parent'>JSON_Decoder</plugin_decoder><json_null_field>discard</json_null_field>"
    )
    log = b'x {"k":"v","n":null}'
    text = W + below("c", "<prematch offset='after_parent'>^{</prematch>" + plug_in)
    assert event(text, log, "wazuh").fields == {"k": b"v"}
    assert event(W + below("c", plug_in), log, "wazuh").fields == {}  # looks at the whole log: "x" is no JSON


def test_a_plug_in_may_change_the_type() -> None:
    text = "<decoder name='s'><prematch>^x </prematch><type>firewall</type><plugin_decoder>SonicWall_Decoder</plugin_decoder></decoder>"
    log = b"x pri=1 c=32 m=82 a src=1.2.3.4:5:X dst=5.6.7.8:9:Y"
    for dialect in ("ossec", "wazuh"):
        e = event(text, log, dialect)
        assert (e.decoder_name, e.decoder_type, e.fts_is_ids) == ("s", "ids", True)
        assert event(text, b"x y", dialect).decoder_type == "syslog"


def test_a_relayed_alert_shows_what_it_is_about() -> None:
    text = "<decoder name='o'><prematch>^ossec</prematch><plugin_decoder>OSSECAlert_Decoder</plugin_decoder></decoder>"
    e = event(text, b"ossec: Alert Level: 5; Rule: 5716 - d; Location: web1->/l; srcip: 1.2.3.4; the log", "ossec")
    assert e.relayed_rule == 5716
    assert (e.full_log, e.log, e.location) == (b"the log", b"the log", "/var/log/x|web1->/l")
    assert event(text, b"ossec: x", "ossec").relayed_rule is None


def test_a_windows_event() -> None:
    xml = b"<Event><System><EventID>7</EventID></System></Event>"
    line = LogLine("EventChannel", xml, 0, 0, "eventchannel")
    e = undecoded(line, "wazuh")
    decode(tree(P, "wazuh"), e)
    assert (e.decoder_name, e.decoder_type) == ("windows_eventchannel", "ossec")
    assert e.fields == {"win.system.eventID": b"7", "win.system.severityValue": b"UNKNOWN"}
    assert e.dynamic["win.system.eventid"] == b"7"


FTS = (
    "<decoder name='p'><prematch>^x </prematch><regex>(\\S+) (\\S+) e</regex><order>id,user</order>"
    "<fts>name, user, id, location</fts><accumulate/></decoder>"
)


def test_what_must_be_new() -> None:
    e = event(FTS, b"x 7 joe e", "ossec")
    assert e.fts_key == b"p 7 joe /var/log/x"
    assert e.accumulate
    e = event(FTS, b"x 7 joe e", "ossec", Origin(sender=b"(web1) 10.0.0.1"))
    assert e.fts_key == b"p 7 joe (web1) 10.0.0.1->/var/log/x"
    assert event(FTS, b"x 7", "ossec").fts_key == b"p   /var/log/x"
    assert len(event(FTS, b"x " + b"7" * 500 + b" joe e", "ossec").fts_key or b"") == 256
    plain = event(P, b"x 7", "ossec")
    assert (plain.fts_key, plain.accumulate, plain.fts_is_ids) == (None, False, False)
    assert not event(P, b"y", "ossec").accumulate


def test_a_child_without_prematch_lends_its_fts_only_in_ossec() -> None:
    child_ = "<decoder name='c'><parent>p</parent>" + FTS.partition("</prematch>")[2]
    for dialect, key in (("ossec", b"p 7 joe /var/log/x"), ("wazuh", None)):
        e = event(P + child_, b"x 7 joe e", dialect)
        assert (e.fts_key, e.accumulate) == (key, key is not None)


def test_given_fields_count_where_the_event_lacks_them() -> None:
    e = event(FTS, b"x 7 joe e", "ossec")
    e.given = {"dstuser": b"ann", "srcip": b"1.2.3.4"}
    assert e.fields == {"id": b"7", "dstuser": b"joe", "srcip": b"1.2.3.4"}


def test_hosts_of_agents() -> None:
    log = b"Dec 29 10:00:01 web1 app: x y"
    for dialect, host in (("ossec", b"(pc7) 10.0.0.1->/var/log/x"), ("wazuh", b"pc7"), ("hids", b"web1")):
        assert event(P, log, dialect, Origin(b"pc7")).hostname == b"web1"
        e = event(P, log, dialect, Origin(b"pc7", b"(pc7) 10.0.0.1"))
        assert e.hostname == host
        assert e.whole_location == (b"/var/log/x" if dialect == "hids" else b"(pc7) 10.0.0.1->/var/log/x")
