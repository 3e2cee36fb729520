"""What a [[source]] may say."""

import pytest

from hids.core.collect.source import Multiline, SourceConfig, check
from hids.errors import ConfigError


@pytest.mark.parametrize(
    "keys",
    [
        {"path": "/x", "format": "multi-line:3"},
        {"path": "/x/%Y.log", "format": "mssql_log", "encoding": "utf-16"},
        {"path": "/x", "format": "multi-line-regex", "multiline": Multiline(regex="^a")},
        {"format": "command", "command": "df -P"},
        {"format": "full_command", "command": "/bin/sh -c 'a | b'"},
        {"path": "journald", "format": "journal", "filter": ({"PRIORITY": "[0-3]"},)},
        {"path": "/x/*.evtx", "format": "evtx"},
        {"path": "Security", "format": "eventchannel", "query": "*"},
        {"format": "macos", "query": "process == 'sudo'"},
    ],
)
def test_what_is_fine(keys: dict[str, object]):
    check(SourceConfig(**keys))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"path": "/x", "command": "df"}, 'for format "command"'),
        ({"format": "command"}, "command is missing"),
        ({"format": "command", "command": "a 'b"}, "check its quotes"),
        ({"format": "command", "command": "a | b"}, "is for a shell"),
        ({"format": "command", "command": "a", "path": "/x"}, "name it with alias"),
        ({"path": "/x", "format": "journal"}, "go together"),
        ({"path": "journald", "format": "journal", "filter": ({"a b": ""},)}, "no field of the journal"),
        ({"path": "journald", "format": "journal", "filter": ({},)}, "empty table"),
        ({"path": "/x", "filter": ({"PRIORITY": "1"},)}, 'for format "journal"'),
        ({"path": "/x", "format": "multi-line-regex"}, "go together"),
        ({"path": "/x", "multiline": Multiline(regex="a")}, "go together"),
        ({"path": "/x", "encoding": "klingon"}, "not known"),
        ({"path": "/x", "ignore": ("(",)}, "not a regular expression"),
        ({"path": "/x", "ignore": ("a",) * 65}, "at most 64"),
        ({"path": "/x", "out_format": "$(b)"}, "not known"),
        ({"path": "/x", "query": "*"}, "query is for"),
        ({"path": "x.evtx", "format": "evtx"}, "absolute"),
        ({"format": "eventchannel"}, "name of a channel"),
        ({"format": "macos", "path": "/x"}, "no path"),
        ({"path": "/x", "format": "multi-line:0"}, "expected 1 to"),
    ],
)
def test_what_makes_no_sense(keys: dict[str, object], complaint: str):
    with pytest.raises(ConfigError) as refused:
        check(SourceConfig(**keys))  # type: ignore[arg-type]
    assert complaint in str(refused.value)
