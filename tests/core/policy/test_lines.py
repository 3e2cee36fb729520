"""The lines in which results travel: ours and those of Wazuh's agents."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.policy.judge import Verdict
from hids.core.policy.lines import (
    Checked,
    CheckSaid,
    DumpSaid,
    PoliciesSaid,
    Report,
    ScannedSaid,
    SummarySaid,
    check_line,
    checked,
    fields_of,
    policies_line,
    read_said,
    scanned_line,
    score,
    summary_line,
)
from hids.core.policy.policy import Check, Policy, Result
from hids.core.policy.rule import parse_rule

ORIGIN = "/etc/hids/policies/p.yml"
CHECK = Check(
    7,
    'Port "22"',
    "all",
    (parse_rule("f:/a,/b -> r:x", {}, "osregex"), parse_rule("c:uname -> x", {}, "osregex")),
    rationale="why",
    remediation="do",
    references=("https://a", "https://b"),
    compliance={"pci_dss_v4.0": ("2.2", "10.1"), "cis": ("1.1",)},
)
POLICY = Policy("p", "p.yml", "Mine", "what", (CHECK,), references=("https://c",))


def report(*results: Result) -> Report:
    done = tuple(Checked(number, result, "d", b"") for number, result in enumerate(results, 1))
    return Report("p", "Mine", "p.yml", "what", ("https://c",), "ab" * 32, checked=done, began_ms=5_500, ended_ms=6_500)


def test_a_check_goes_the_way_there_and_back():
    one = checked(POLICY, CHECK, Verdict("failed"))
    said = read_said(check_line(one, 42, "passed"))
    assert isinstance(said, CheckSaid)
    assert (said.id, said.policy, said.policy_id, said.result, said.previous_result) == (
        42,
        "Mine",
        "p",
        "failed",
        "passed",
    )
    assert dict(fields_of(said)) == {
        "sca.type": "check",
        "sca.scan_id": "42",
        "sca.policy": "Mine",
        "sca.policy_id": "p",
        "sca.check.id": "7",
        "sca.check.title": 'Port "22"',
        "sca.check.rationale": "why",
        "sca.check.remediation": "do",
        "sca.check.references": "https://a,https://b",
        "sca.check.compliance.pci_dss_v4.0": "2.2,10.1",
        "sca.check.compliance.cis": "1.1",
        "sca.check.file": "/a,/b",
        "sca.check.command": "uname",
        "sca.check.result": "failed",
        "sca.check.previous_result": "passed",
    }


def test_what_is_not_applicable_says_so_as_wazuh_does():
    line = check_line(checked(POLICY, CHECK, Verdict("not applicable", "/a: gone")), 1, "")
    body = json.loads(line)["check"]
    assert (body["status"], body["reason"]) == ("Not applicable", "/a: gone")
    assert "result" not in body
    assert "previous_result" not in json.loads(line)
    said = read_said(line)
    assert isinstance(said, CheckSaid)
    assert said.result == "not applicable"


def test_a_digest_is_of_the_texts_and_not_of_the_result():
    one, other = checked(POLICY, CHECK, Verdict("failed")), checked(POLICY, CHECK, Verdict("passed"))
    assert one.digest == other.digest
    assert checked(POLICY, Check(7, "other", "all", CHECK.rules), Verdict("failed")).digest != one.digest


def test_a_summary_goes_the_way_there_and_back():
    line = summary_line(report("passed", "failed", "not applicable", "passed"), 42, ORIGIN, first=True)
    assert json.loads(line)["first_scan"] == 1
    said = read_said(line)
    assert isinstance(said, SummarySaid)
    assert (said.passed, said.failed, said.invalid, said.total_checks, said.score) == (2, 1, 1, 4, 66)
    assert (said.checks, said.origin) == ((1, 2, 3, 4), ORIGIN)
    fields = dict(fields_of(said))
    assert (fields["sca.score"], fields["sca.policy"], fields["sca.file"]) == ("66", "Mine", "p.yml")
    assert "first_scan" not in json.loads(summary_line(report("passed"), 42, ORIGIN, first=False))


def test_the_hash_changes_with_any_result():
    hashes = {
        json.loads(summary_line(report(*results), 1, ORIGIN, first=False))["hash"]
        for results in (("passed", "failed"), ("failed", "passed"), ("passed",))
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("passed", "failed", "expected"), [(0, 0, 0), (1, 0, 100), (0, 1, 0), (2, 1, 66), (1, 2, 33), (199, 1, 99)]
)
def test_score(passed: int, failed: int, expected: int):
    assert score(passed, failed) == expected


def test_the_other_lines():
    assert read_said(policies_line({"b", "a"})) == PoliciesSaid(("a", "b"))
    assert read_said(scanned_line(report())) == ScannedSaid("p", 6)
    assert read_said(b'{"type":"dump_end","policy_id":"p","elements_sent":3,"scan_id":1}') == DumpSaid()
    assert dict(fields_of(PoliciesSaid(("a", "b")))) == {"sca.type": "policies", "sca.policies": "a,b"}
    assert dict(fields_of(ScannedSaid("p", 6)))["sca.policy_id"] == "p"
    assert fields_of(DumpSaid()) == [("sca.type", "dump_end")]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"type":"check"}',
        b'{"type":"check","policy_id":"p","check":{"id":-1}}',
        b'{"type":"check","policy_id":"p","check":{"id":99999999999999999999}}',
        b'{"type":"summary","policy_id":"p","score":101}',
        b'{"type":"summary","policy_id":"p","score":1e400}',
        b'{"type":"other"}',
        b'{"type":"check","policy_id":"\xff","check":{"id":1}}',
        b'{"type":"policies","policies":["' + b"[" * 60_000 + b'",1]}',
        b'{"type":"scanned","policy_id":"p","x":' + b"[" * 60_000 + b"}",
    ],
)
def test_what_is_no_such_line_is_none(text: bytes):
    assert read_said(text) is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["type", "check", "policy_id", "id", "result", "score"]), x)))  # fmt: skip
def test_any_json_is_read_or_not(value: object):
    said = read_said(json.dumps(value).encode())
    if said is not None:
        assert all(name.startswith("sca.") for name, _ in fields_of(said))
