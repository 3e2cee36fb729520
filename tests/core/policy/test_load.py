"""Policies as files: Wazuh's own, broken ones, hostile ones."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.policy import load
from hids.core.policy.load import load_policy
from hids.core.policy.policy import Policy
from hids.core.policy.rule import Rule, Unusable
from hids.errors import ConfigError

GOOD = """
policy:
  id: mine
  file: mine.yml
  name: "Mine"
  description: "What I want."
  references:
    - https://example.org/
variables:
  $sshd: /etc/ssh/sshd_config
requirements:
  title: "It is Linux"
  condition: all
  rules: ['f:/proc/sys/kernel/ostype -> Linux']
checks:
  - id: 1
    title: "Port"
    description: "d"
    rationale: "r"
    remediation: "m"
    unknown: [left, alone]
    compliance:
      - pci_dss: ["2.2", "10.1"]
      - cis: 1.10
      - pci_dss: ["3"]
    references: ["a", {b: c}]
    condition: any
    rules:
      - 'f:$sshd -> r:^port'
      - 'c:nothing -> n:(\\d+) compare =< 3'
  - id: 2
    title: "Case"
    condition: none
    regex_type: pcre2
    rules: ['f:$sshd -> r:^[Pp]ort\\b']
"""


def read(text: str) -> Policy:
    return load_policy(text.encode(), "/p/mine.yml")


def test_a_policy_is_read_whole():
    policy = read(GOOD)
    assert (policy.id, policy.file, policy.name, policy.references) == (
        "mine",
        "mine.yml",
        "Mine",
        ("https://example.org/",),
    )
    assert policy.requirements is not None
    assert policy.requirements.condition == "all"
    port, case = policy.checks
    assert port.compliance == {"pci_dss": ("2.2", "10.1", "3"), "cis": ("1.10",)}
    assert port.references == ("a", "c")
    first, second = port.rules
    assert isinstance(first, Rule)
    assert first.targets == ("/etc/ssh/sshd_config",)
    assert isinstance(second, Unusable)
    assert policy.problems == (f"check 1: {second.problem}",)
    (only,) = case.rules
    assert isinstance(only, Rule)
    assert only.content is not None
    assert only.content.holds(b"Port 22")
    assert not only.content.holds(b"PORT 22")


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("  id: mine", "", "/p/mine.yml: policy: id is missing"),
        ("  id: mine", "  id: [1]", "policy: id: expected a text, got a list"),
        ("  id: mine", '  id: "a\\e[31m"', "expected one line of printable characters"),
        ("  id: mine", "  id: " + "x" * 300, "id: at most 256 characters, got 300"),
        ('  name: "Mine"', "", "policy: name is missing"),
        ("policy:", "polity:", "policy: expected members with names, got nothing"),
        ("checks:", "czechs:", "checks: expected a list, got nothing"),
        ("  - id: 1", "  - id: one", "check number 1: id: expected a number from 0 to 2147483647, got 'one'"),
        ("  - id: 1", "  - id: 99999999999", "expected a number"),
        ("  - id: 1", "  - id: ²", "expected a number"),
        ("  - id: 2", "  - id: 1", "/p/mine.yml: check 1 is there twice"),
        ("condition: any", "condition: some", "check 1: condition: expected all, any or none, got 'some'"),
        ("condition: any", "condition: [any]", "check 1: condition: expected a text"),
        ("regex_type: pcre2", "regex_type: posix", "check 2: regex_type: expected osregex or pcre2, got 'posix'"),
        ("    rules: ['f:$sshd -> r:^[Pp]ort\\\\b']", "    rules: []", "check 2: expected 1 to 256 rules, got 0"),
        (
            "    rules: ['f:$sshd -> r:^[Pp]ort\\\\b']",
            "    rules: [[a]]",
            "check 2: a rule: expected a text, got a list",
        ),
        ("  $sshd: /etc", "  sshd: /etc", "variables: expected names such as $sshd_file, got 'sshd'"),
        ("  $sshd: /etc/ssh/sshd_config", "  $sshd: [a]", "$sshd: expected a text, got a list"),
        ("      - cis: 1.10", "      - cis", "compliance: expected members with names, got 'cis'"),
        ("variables:", "variables: x\nother:", "variables: expected members with names, got 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(before: str, after: str, complaint: str):
    text = GOOD.replace("\\\\", "\\")
    assert before.replace("\\\\", "\\") in text
    with pytest.raises(ConfigError) as caught:
        read(text.replace(before.replace("\\\\", "\\"), after, 1))
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("/p/mine.yml")


def test_long_texts_are_cut_and_many_checks_refused(monkeypatch: pytest.MonkeyPatch):
    policy = read(GOOD.replace('description: "d"', f'description: "{"d" * 10_000}"'))
    assert len(policy.checks[0].description) == load.MAX_TEXT
    monkeypatch.setattr(load, "MAX_CHECKS", 1)
    with pytest.raises(ConfigError, match="expected 1 to 1 checks, got 2"):
        read(GOOD)


LINES = GOOD.splitlines()


@given(
    st.integers(0, len(LINES) - 1), st.sampled_from(["", "x", "- ", "  a: b", "[", "*a", "\x00", "é: {}", ": ", "? x"])
)
def test_a_broken_line_is_read_or_refused(number: int, instead: str):
    text = "\n".join((*LINES[:number], instead, *LINES[number + 1 :]))
    try:
        policy = read(text)
    except ConfigError as error:
        assert "mine.yml" in str(error)
    else:
        assert policy.checks


@pytest.mark.slow
def test_every_policy_of_wazuh_is_read():
    folder = os.environ.get("HIDS_CONFORMANCE")
    if not folder:
        pytest.skip("HIDS_CONFORMANCE names no folder with Wazuh's policies")
    files = sorted(Path(folder, "wazuh", "sca").rglob("*.yml"))
    assert len(files) == 75
    checks = rules = unusable = 0
    for file in files:
        policy = load_policy(file.read_bytes(), file.name)
        checks += len(policy.checks)
        rules += sum(len(check.rules) for check in policy.checks)
        unusable += len(policy.problems)
    assert checks == 10_851
    # Comparisons such as "compare => 5" and patterns that osregex has never taken: mistakes of their authors.
    assert unusable < rules // 100
