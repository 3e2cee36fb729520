"""What the manager tells, in OSSEC's and Wazuh's words."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.decode.event import Event, Origin
from hids.core.decode.told import in_upstream_words
from hids.core.dialect import Dialect
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import SourceFile
from hids.core.rules.walk import decoded
from hids.core.syscheck.change import compare
from hids.core.syscheck.verdict import Verdict, tell
from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact, Packaged

RULES = b"""<group name="syslog,"><rule id="7" level="0"><category>ossec</category><description>d</description></rule></group>
<group name="x,">
<rule id="10" level="7"><category>ossec</category><decoded_as>syscheck_integrity_changed</decoded_as><description>d</description></rule>
<rule id="11" level="7"><category>ossec</category><decoded_as>syscheck_deleted</decoded_as><description>d</description></rule>
<rule id="12" level="5"><category>ossec</category><decoded_as>syscheck_new_entry</decoded_as><description>d</description></rule>
%b</group>"""
BY_FIELD = b"""<rule id="13" level="9"><if_sid>10</if_sid><field name="file">^/etc/x$</field><field name="size">^2$</field>
<field name="changed_fields">permission</field><description>d</description></rule>"""
WEB1 = Origin(b"web1", b"(web1) 192.0.2.7")
BEFORE = FileFact(path="/etc/x", seen="live", kind="file", size=1, mode=0o644, sha256="a" * 64)
AFTER = FileFact(path="/etc/x", seen="live", kind="file", size=2, mode=0o600, sha256="b" * 64)
GONE = FileFact(path="/etc/x", seen="live", gone=True)


def plan(dialect: Dialect, more: bytes = b"") -> Plan:
    return compile_plan(load("x", dialect, [SourceFile("x.xml", RULES % more)], {}))


def derived(before: FileFact | None, now: FileFact) -> LogLine:
    change = compare(before, now)
    assert change is not None
    return LogLine("syscheck", change.text.encode(), 0, 0, "syscheck", change.facts)


def rule_of(one: Plan, event: Event | None) -> int:
    assert event is not None
    verdict = one.judge(event)
    assert verdict is not None
    return one.ruleset.rules[verdict.residual[-1][1]].id


CHANGES = [
    (BEFORE, AFTER, "syscheck_integrity_changed", 10),
    (BEFORE, GONE, "syscheck_deleted", 11),
    (None, AFTER, "syscheck_new_entry", 12),
]


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize(("before", "now", "decoder", "rule"), CHANGES)
def test_a_change_has_upstreams_decoder_and_rule(
    dialect: Dialect, before: FileFact | None, now: FileFact, decoder: str, rule: int
) -> None:
    one = plan(dialect)
    line = derived(before, now)
    for _ in range(2):  # a second time there is something to be remembered
        event = one.notice(line, WEB1)
        assert event is not None
        assert (event.decoder_name, event.decoder_type) == (decoder, "ossec")
        assert rule_of(one, event) == rule
    assert decoded(one.ruleset, line, WEB1).full_log == event.full_log


REPEATS = b"""
<rule id="14" level="7"><category>ossec</category><decoded_as>syscheck_integrity_changed_2nd</decoded_as><description>d</description></rule>
<rule id="15" level="7"><category>ossec</category><decoded_as>syscheck_integrity_changed_3rd</decoded_as><description>d</description></rule>"""


@pytest.mark.parametrize(("changes", "rule"), [(0, 10), (1, 10), (2, 14), (3, 15), (4, 15), (99, 15)])
def test_ossec_knows_the_second_and_the_third_change(changes: int, rule: int) -> None:
    one = plan("ossec", REPEATS)
    change = compare(BEFORE, AFTER)
    assert change is not None
    told = tell(change, "", None, None, changes)
    line = LogLine("syscheck", told.text.encode(), 0, 0, "syscheck", told.facts)
    for _ in range(2):
        assert rule_of(one, one.notice(line, WEB1)) == rule
    deleted = compare(BEFORE, GONE)
    assert deleted is not None
    gone = tell(deleted, "", None, None, changes)
    assert rule_of(one, one.notice(LogLine("syscheck", gone.text.encode(), 0, 0, "syscheck", gone.facts), WEB1)) == 11


def test_wazuh_counts_no_changes() -> None:
    change = compare(BEFORE, AFTER)
    assert change is not None
    told = tell(change, "", None, None, 3)
    line = LogLine("syscheck", told.text.encode(), 0, 0, "syscheck", told.facts)
    one = plan("wazuh")
    assert rule_of(one, one.notice(line, WEB1)) == 10


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize("verdict", ["package", "maintenance", "wrong"])
def test_what_somebody_answers_for_is_no_news_to_rules_of_others(dialect: Dialect, verdict: Verdict) -> None:
    """Our own rules have these; else a change would be two alerts."""
    before = msgspec.structs.replace(BEFORE, path="/srv/error: Failed password")
    change = compare(before, msgspec.structs.replace(AFTER, path=before.path))
    assert change is not None
    told = tell(change, verdict, Packaged("x", "1"), None, 0)
    one = plan(dialect)
    event = one.notice(LogLine("syscheck", told.text.encode(), 0, 0, "syscheck", told.facts), WEB1)
    assert event is not None
    assert event.decoder_name == "syscheck_answered"
    assert event.log == b""
    judged = one.judge(event)
    assert judged is None or one.ruleset.rules[judged.residual[-1][1]].id not in (10, 11, 12)


def test_ossecs_text() -> None:
    one = plan("ossec")
    assert one.recognise(derived(BEFORE, AFTER), WEB1).log.decode() == (
        "Integrity checksum changed for: '/etc/x'\nSize changed from '1' to '2'\n"
        "Permissions changed from 'rw-r--r--' to 'rw-------'\n"
        f"Old sha256sum was: '{'a' * 64}'\nNew sha256sum is : '{'b' * 64}'\n"
    )
    assert one.recognise(derived(None, AFTER), WEB1).log == b"New file '/etc/x' added to the file system."
    gone = one.recognise(derived(BEFORE, GONE), WEB1).log
    assert gone == b"File '/etc/x' was deleted. Unable to retrieve checksum."


def test_wazuhs_text_and_fields() -> None:
    one = plan("wazuh", BY_FIELD)
    event = one.notice(derived(BEFORE, AFTER), WEB1)
    assert rule_of(one, event) == 13
    assert event is not None
    assert event.log.startswith(
        b"File '/etc/x' modified\nMode: realtime\nChanged attributes: size,permission,sha256\nSize changed from '1' to '2'\n"
    )
    assert event.dynamic["size_before"] == b"1"
    assert event.dynamic["sha256"] == b"b" * 64


def test_equal_words_about_different_files_states_are_not_taken_for_each_other() -> None:
    more = b"""<rule id="13" level="9"><if_sid>12</if_sid><field name="size">^2$</field><description>d</description></rule>"""
    one = plan("wazuh", more)
    small, big = derived(None, BEFORE), derived(None, AFTER)
    events = [one.notice(line, WEB1) for line in (small, big, small)]
    assert len({event.log for event in events if event is not None}) == 1
    assert [rule_of(one, event) for event in events] == [12, 13, 12]


def test_registry_keys_are_told_apart() -> None:
    key = FileFact(path="[x64] HKEY_LOCAL_MACHINE\\Run", seen="scan", kind="other")
    wazuh = plan("wazuh").recognise(derived(None, key), WEB1)
    assert wazuh.decoder_name == "syscheck_registry_key_added"
    assert wazuh.log == b"Registry Key '[x64] HKEY_LOCAL_MACHINE\\Run' added\nMode: scheduled"
    ossec = plan("ossec").recognise(derived(None, key), WEB1)
    assert (ossec.decoder_name, ossec.hostname) == ("syscheck_new_entry", b"(web1) 192.0.2.7->syscheck-registry")


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"agent started: version 1 on Linux", b"ossec: Agent started: 'web1->192.0.2.7'."),
        (b"agent stopped: SIGTERM", b"ossec: Agent stopped: 'web1->192.0.2.7'."),
        (b"agent disconnected: last seen then", b"ossec: Agent disconnected: 'web1-192.0.2.7'."),
        (b"agent removed: by root", b"ossec: Agent removed: 'web1-192.0.2.7'."),
    ],
)
def test_agents_come_and_go(dialect: Dialect, said: bytes, told: bytes) -> None:
    event = plan(dialect).recognise(LogLine("hids-agent", said, 0, 0, "agent"), WEB1)
    assert (event.log, event.full_log, event.program) == (told, told, None)


HOST = FileFact(path="192.0.2.1 (web1)", seen="live", kind="host", target="22(tcp)")
RESCANNED = msgspec.structs.replace(HOST, target="22(tcp) 80(tcp)")


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize(
    ("before", "now", "decoder", "text"),
    [
        (None, HOST, "hostinfo_new", b"Host: 192.0.2.1 (web1), open ports: 22(tcp)"),
        (HOST, RESCANNED, "hostinfo_modified", b"Host: 192.0.2.1 (web1), open ports: 22(tcp) 80(tcp)"),
    ],
)
def test_what_nmap_saw(dialect: Dialect, before: FileFact | None, now: FileFact, decoder: str, text: bytes) -> None:
    event = plan(dialect).recognise(derived(before, now), WEB1)
    assert (event.decoder_name, event.decoder_type, event.full_log) == (decoder, "ossec", text)


@pytest.mark.parametrize(
    ("dialect", "told"), [("ossec", b"ossec: Ossec started."), ("wazuh", b"ossec: Manager started.")]
)
def test_the_manager_starts(dialect: Dialect, told: bytes) -> None:
    line = LogLine("hids-manager", b"manager started: version 1", 0, 0, "agent")
    assert plan(dialect).recognise(line, Origin(b"boss")).full_log == told
    assert in_upstream_words(line, dialect, b"web1", b"(web1) 192.0.2.7") is None, "no agent says so"


def test_our_dialect_keeps_our_words() -> None:
    line = derived(BEFORE, AFTER)
    assert in_upstream_words(line, "hids", b"web1", b"(web1) 192.0.2.7") is None


def test_other_words_stay_as_they_are() -> None:
    line = LogLine("hids-agent", b"lines lost: 3", 0, 0, "agent")
    assert in_upstream_words(line, "ossec", b"web1", b"(web1) 192.0.2.7") is None
    assert plan("ossec").recognise(line, WEB1).program == b"hids:agent"


@given(st.binary(max_size=200), st.sampled_from(("ossec", "wazuh")))
def test_facts_of_any_form_are_survived(facts: bytes, dialect: Dialect) -> None:
    event = plan_of(dialect).recognise(LogLine("syscheck", b"File '/x' added", 0, 0, "syscheck", facts), WEB1)
    assert event.decoder is None
    assert event.program == b"hids:syscheck"


@given(st.text(min_size=1, max_size=100).filter(lambda path: "\0" not in path))
def test_a_path_stays_in_its_line(path: str) -> None:
    event = plan_of("wazuh").recognise(derived(None, FileFact(path=path, seen="live", kind="file")), WEB1)
    assert event.log.count(b"\n") == 1
    assert event.log.endswith(b"\nMode: realtime")


PLANS: dict[Dialect, Plan] = {"ossec": plan("ossec"), "wazuh": plan("wazuh")}


def plan_of(dialect: Dialect) -> Plan:
    return PLANS[dialect]


@pytest.mark.parametrize(("event", "rules"), [("added", (598, 752)), ("modified", (594, 750)), ("deleted", (597, 751))])
def test_values_of_the_registry_have_decoders_of_their_own_in_wazuh(event: str, rules: tuple[int, int]):
    path = "HKEY_LOCAL_MACHINE\\Run\\\\evil"
    before = FileFact(path=path, seen="scan", kind="value", size=2, sha256="aa", target="REG_SZ")
    now = {
        "added": (None, before),
        "modified": (before, FileFact(path=path, seen="scan", kind="value", size=4, sha256="bb", target="REG_DWORD")),
        "deleted": (before, FileFact(path=path, seen="scan", kind="value", gone=True)),
    }[event]
    change = compare(*now)
    assert change is not None
    line = LogLine("syscheck", change.text.encode(), 0, 0, "syscheck", change.facts)
    wazuh = in_upstream_words(line, "wazuh", b"w1", b"(w1) any")
    ossec = in_upstream_words(line, "ossec", b"w1", b"(w1) any")
    assert wazuh is not None
    assert ossec is not None
    assert wazuh.header.program == b"hids:syscheck_registry_value_" + event.encode()
    assert wazuh.header.log.startswith(b"Registry Value 'HKEY_LOCAL_MACHINE\\Run\\evil' " + event.encode())
    assert ossec.line.location == "syscheck-registry"
    assert b"'HKEY_LOCAL_MACHINE\\Run\\\\evil'" in ossec.header.log
