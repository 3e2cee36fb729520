"""The section [rootcheck]: what is taken, what is refused, and how the manager's part goes with the agent's own."""

import datetime

import pytest

from hids.core.collect.config import AgentConfig, SharedConfig, merged, parse
from hids.core.collect.rootcheck import RootcheckConfig, RootcheckException
from hids.errors import ConfigError


def test_a_section_with_an_exception():
    config = parse(
        "[rootcheck]\ndisabled = false\nsystem_audit = ['/etc/a.txt']\n"
        "[[rootcheck.exception]]\nfinding = 'Port *'\nreason = 'x'\nuntil = 2027-06-30\n",
        "agent.toml",
    ).rootcheck
    assert config.exception == (RootcheckException(finding="Port *", reason="x", until=datetime.date(2027, 6, 30)),)
    assert list(config.databases()) == [("system_audit", "/etc/a.txt")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("base_directory = 'x'", "base_directory: expected an absolute path, got 'x'"),
        ("rootkit_files = ['x']", "rootkit_files: expected absolute paths, got 'x'"),
        (f"system_audit = {['/x'] * 65}", "at most 64 files"),
        ("frequency_s = 5", ">= 60"),
        ("check_pid = true", "unknown field `check_pid`"),
        ("[[rootcheck.exception]]\nfinding = 'x'", "missing required field `reason`"),
        ("[[rootcheck.exception]]\nfinding = 'x'\nreason = ''", "length >= 1"),
        ("[[rootcheck.exception]]\nfinding = 'x'\nreason = 'y'\nuntil = 'soon'", "Invalid"),
        ("[[rootcheck.exception]]\nfinding = 'x'\nreason = 'y'\n" * 1001, "at most 1000"),
    ],
)
def test_what_is_refused(text: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        parse(f"[rootcheck]\n{text}", "agent.toml")


def test_the_agents_own_section_comes_first_and_exceptions_add_up():
    mine = RootcheckException(finding="a", reason="mine")
    theirs = RootcheckException(finding="b", reason="theirs")
    shared = SharedConfig(rootcheck=RootcheckConfig(disabled=False, exception=(theirs,)))
    own = AgentConfig(rootcheck=RootcheckConfig(exception=(mine,)))
    assert merged(own, shared).rootcheck == RootcheckConfig(disabled=False, exception=(mine, theirs))
    own = AgentConfig(rootcheck=RootcheckConfig(disabled=False, readall=True))
    assert merged(own, shared).rootcheck == RootcheckConfig(disabled=False, readall=True, exception=(theirs,))
    assert merged(own, SharedConfig()) == own
