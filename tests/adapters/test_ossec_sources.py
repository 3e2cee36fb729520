from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.adapters.ossec_sources import ossec_sources, seconds
from hids.errors import ConfigError


def read(*sections: str) -> tuple[list[dict[str, Any]], list[str]]:
    inner = "".join(f"<localfile>{section}</localfile>" for section in sections)
    found = ossec_sources("ossec.conf", f"<ossec_config>{inner}</ossec_config>".encode())
    return found.tables, found.notes


@pytest.mark.parametrize(
    ("section", "table"),
    [
        (
            "<log_format>syslog</log_format><location>/var/log/auth.log</location>",
            {"path": "/var/log/auth.log", "format": "syslog"},
        ),
        ("<location>/x</location>", {"path": "/x", "format": "syslog"}),
        (
            "<log_format>multi-line:3</log_format><location>/x-%Y.log</location>",
            {"path": "/x-%Y.log", "format": "multi-line:3"},
        ),
        (
            "<log_format>command</log_format><command>df -P</command><frequency>90</frequency>",
            {"format": "command", "command": "df -P", "frequency_s": 90},
        ),
        (
            "<log_format>full_command</log_format><command>ss -tln | sort</command><alias>ports</alias><frequency>hourly</frequency>",
            {"format": "full_command", "command": "/bin/sh -c 'ss -tln | sort'", "alias": "ports", "frequency_s": 3600},
        ),
        (
            (
                "<log_format>journald</log_format><location>journald</location>"
                "<filter field='_SYSTEMD_UNIT'>^ssh</filter><filter field='PRIORITY'>[0-4]</filter>"
            ),
            {"path": "journald", "format": "journal", "filter": [{"_SYSTEMD_UNIT": "^ssh", "PRIORITY": "[0-4]"}]},
        ),
        (
            "<log_format>eventchannel</log_format><location>Security</location><query>*[System/Level=1]</query>",
            {"path": "Security", "format": "eventchannel", "query": "*[System/Level=1]"},
        ),
        (
            (
                "<log_format>json</log_format><location>/a/*.json</location><age>1d</age><exclude>/a/b*</exclude>"
                "<label key='app'>shop</label><out_format>x: $(log)</out_format>"
            ),
            {
                "path": "/a/*.json",
                "format": "json",
                "max_age_s": 86400,
                "exclude": ["/a/b*"],
                "labels": {"app": "shop"},
                "out_format": "x: $(log)",
            },
        ),
        (
            (
                "<log_format>multi-line-regex</log_format><location>/m</location>"
                "<multiline_regex match='start' replace='wspace' timeout='9'>^x</multiline_regex>"
            ),
            {
                "path": "/m",
                "format": "multi-line-regex",
                "multiline": {"regex": "^x", "match": "start", "replace": "space", "timeout_s": 9.0},
            },
        ),
    ],
)
def test_each_kind(section: str, table: dict[str, Any]) -> None:
    tables, notes = read(section)
    assert (tables, notes) == ([table], [])


@pytest.mark.parametrize(
    ("section", "note"),
    [
        ("<log_format>syslog-pipe</log_format><location>/p</location>", "is left out: syslog-pipe: a named pipe"),
        ("<log_format>eventlog</log_format><location>Security</location>", 'use format = "eventchannel"'),
        ("<log_format>odd</log_format><location>/p</location>", "is left out: "),
        ("<log_format>command</log_format><command>a</command><frequency>often</frequency>", "a time such as 90"),
        ("<log_format>command</log_format><command>a 'b</command>", "check its quotes"),
        ("<log_format>multi-line-regex</log_format><location>/p</location>", "needs <multiline_regex>"),
        ("<location>/p</location><target>agent,sock</target>", "<target> is not taken over"),
        ("<location>/p</location><check_diff/>", "<check_diff> is not known in it"),
        ("<location>/p</location><ignore>^x</ignore>", "<ignore> is taken as one of Python's"),
    ],
)
def test_what_is_told(section: str, note: str) -> None:
    _tables, notes = read(section)
    assert any(note in each for each in notes)


def test_one_source_a_file() -> None:
    tables, notes = read("<location>/a</location>", "<location>/a</location><log_format>apache</log_format>")
    assert len(tables) == 1
    assert notes == ["ossec.conf:1: <localfile> is left out: 'source /a' is read already"]


def test_a_broken_file() -> None:
    with pytest.raises(ConfigError, match="ossec.conf:1"):
        ossec_sources("ossec.conf", b"<ossec_config><localfile></ossec_config>")


@given(st.text())
def test_any_time(text: str) -> None:
    try:
        assert seconds(text) >= 0
    except ValueError as error:
        assert "expected a time" in str(error)
