"""What came of policies as events: in Wazuh's dialect, in ours, and kept away from OSSEC's rules for logs."""

import os
from pathlib import Path

import pytest

from hids.core.decode.event import Origin
from hids.core.dialect import Dialect
from hids.core.rules.load import load
from hids.core.rules.plan import compile_plan
from hids.core.rules.rule import SourceFile
from hids.core.rules.walk import base
from hids.messages.lines import LogLine
from hids.messages.terms import Kind

LINE = b'{"type":"check","id":5,"policy":"P","policy_id":"p","check":{"id":3,"title":"T","result":"failed"}}'
RULES: dict[Dialect, bytes] = {
    "hids": b"""<decoder name="sca"><program_name>^hids:sca$</program_name><plugin_decoder>sca</plugin_decoder></decoder>
        <group name="x,"><rule id="200000" level="5"><decoded_as>sca</decoded_as>
        <field name="sca.check.result">^failed$</field><description>d</description></rule></group>""",
    "wazuh": b"""<group name="x,">
        <rule id="1" level="0" noalert="1"><category>syslog</category><description>d</description></rule>
        <rule id="7" level="0" noalert="1"><category>ossec</category><description>d</description></rule>
        <rule id="100" level="5"><category>ossec</category><decoded_as>sca</decoded_as>
        <field name="sca.check.result">^failed</field><description>d</description></rule></group>""",
}


def recognised(
    dialect: Dialect, rules: bytes, kind: Kind, line: bytes = LINE
) -> tuple[str | None, dict[str, bytes], bool]:
    """Decoder, fields, and whether a rule is interested."""
    plan = compile_plan(load("r", dialect, [SourceFile("r.xml", rules)]))
    event = plan.recognise(LogLine("sca", line, 0, 0, kind), Origin(b"web1"))
    return event.decoder_name, event.fields, plan.judge(event) is not None


@pytest.mark.parametrize("dialect", ["hids", "wazuh"])
def test_fields_by_wazuhs_names(dialect: Dialect):
    decoder, fields, told = recognised(dialect, RULES[dialect], "sca")
    assert (decoder, told) == ("sca", True)
    assert fields["sca.check.id"] == b"3"
    assert fields["sca.policy"] == b"P"


@pytest.mark.parametrize("dialect", ["hids", "wazuh"])
def test_a_log_cannot_be_one(dialect: Dialect):
    decoder, fields, told = recognised(dialect, RULES[dialect], "log", b"Nov 24 03:21:42 web1 hids:sca: " + LINE)
    assert (decoder, fields, told) == (None, {}, False)


@pytest.mark.parametrize("line", [b"", b"\xff", b"{", b'{"type":"check","policy_id":"\xff","check":{"id":1}}'])
def test_of_what_is_no_such_line_nothing_is_taken(line: bytes):
    assert recognised("hids", RULES["hids"], "sca", line) == ("sca", {}, False)


def test_ossecs_rules_for_logs_do_not_see_them():
    bad_words = b"""<group name="x,"><rule id="1" level="0" noalert="1"><category>syslog</category>
        <description>d</description></rule><rule id="1002" level="2"><if_sid>1</if_sid><match>failed</match>
        <description>d</description></rule></group>"""
    decoder, _, told = recognised("ossec", bad_words, "sca")
    assert (decoder, told) == ("sca", False)
    assert recognised("ossec", bad_words, "log")[2]


def checked(result: str, previous: str = "") -> bytes:
    before = f',"previous_result":"{previous}"' if previous else ""
    told = '"status":"Not applicable"' if result == "not applicable" else f'"result":"{result}"'
    return (
        f'{{"type":"check","id":5,"policy":"P","policy_id":"p","check":{{"id":3,"title":"T",{told}}}{before}}}'.encode()
    )


def scored(score: int) -> bytes:
    return f'{{"type":"summary","scan_id":5,"name":"P","policy_id":"p","score":{score}}}'.encode()


STOCK = {
    19001: scored(95),
    19002: scored(85),
    19003: scored(64),
    19004: scored(38),
    19005: scored(7),
    19007: checked("failed"),
    19008: checked("passed"),
    19009: checked("not applicable"),
    19010: checked("passed", "failed"),
    19011: checked("failed", "passed"),
    19012: checked("not applicable", "passed"),
    19013: checked("not applicable", "failed"),
    19014: checked("failed", "not applicable"),
    19015: checked("passed", "not applicable"),
}
"""Wazuh's rule -> what it is for."""


def test_wazuhs_own_rules_fire():
    folder = os.environ.get("HIDS_CONFORMANCE")
    if not folder:
        pytest.skip("HIDS_CONFORMANCE names no folder with Wazuh's rules")
    rules = Path(folder, "wazuh", "rules")
    files = [path for number in ("0010", "0570") for path in sorted(rules.glob(f"{number}-*.xml"))]
    ruleset = load("wazuh", "wazuh", [SourceFile(path.name, path.read_bytes()) for path in files])
    plan = compile_plan(ruleset)
    for expected, line in STOCK.items():
        verdict = plan.judge(plan.recognise(LogLine("sca", line, 0, 0, "sca"), Origin(b"web1")))
        assert verdict is not None
        assert ruleset.rules[base(verdict.residual)].id == expected
