"""Test files of all three forms, against a small ruleset of each dialect."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import SourceFile
from hids.errors import ConfigError
from hids.manager.trials import Trials, read_trials

OURS = """
<decoder name="app"><program_name>^app$</program_name></decoder>
<decoder name="app-user"><parent>app</parent><regex>user (\\w+)</regex><order>srcuser</order></decoder>
<group name="app,">
  <rule id="200100" level="0"><decoded_as>app</decoded_as><description>app</description></rule>
  <rule id="200101" level="5"><if_sid>200100</if_sid><match>failed</match><description>failed</description></rule>
  <rule id="200102" level="10" frequency="3" timeframe="60" ignore="60">
    <if_matched_sid>200101</if_matched_sid><same_user/><description>many</description>
  </rule>
</group>
"""
THEIRS = """
<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category><description>all</description>
</rule></group>
<decoder name="App"><program_name>^app</program_name></decoder>
<group name="app,">
  <rule id="100" level="5"><decoded_as>App</decoded_as><match>failed</match><description>failed</description></rule>
  <rule id="101" level="8" frequency="2" timeframe="60"><if_matched_sid>100</if_matched_sid>
  <description>many</description></rule>
</group>
"""
HEAD = "Nov 24 03:21:42 web1 app[1]: "


def plan(dialect: str, text: str) -> Plan:
    return compile_plan(load("test", dialect, [SourceFile("r.xml", text.encode())], correlation="compat"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[str | None]]:
    def run_text(dialect: str, name: str, text: str) -> list[str | None]:
        path = tmp_path / name
        path.write_text(text)
        made = plan(dialect, OURS if dialect == "hids" else THEIRS)
        trials = Trials(made, "web1")
        return [trials.run(trial) for trial in read_trials(path, made.ruleset.dialect)]

    return run_text


def test_cases_of_ours(run: Callable[..., list[str | None]]) -> None:
    text = f"""
[[case]]
name = "right"
line = "{HEAD}user bob failed"
rule = 200101
fields = {{ srcuser = "bob", srcip = "" }}
not = [200102]
[[case]]
name = "wrong rule"
line = "{HEAD}fine"
rule = 200101
[[case]]
name = "level 0 is rule 0"
line = "{HEAD}fine"
rule = 0
[[case]]
name = "wrong field"
line = "{HEAD}user bob failed"
rule = 200101
fields = {{ srcuser = "eve" }}
"""
    assert run("hids", "t.toml", text) == [
        None,
        "expected rule 200101, got 0",
        None,
        "expected srcuser 'eve', got 'bob'",
    ]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ("times = 3\nrule = 200102", None),
        ("times = 2\nrule = 200102", "expected rule 200102, got 200101"),
        ("times = 3\nevery_s = 40\nrule = 200102", "expected rule 200102, got 200101"),
        ("times = 5\nevery_s = 40\nrule = 200101", None),
        ("times = 2\nthen = ['Nov 24 03:21:42 web1 app[1]: user bob failed']\nrule = 200102", None),
        ("times = 3\nrule = 200102\nnot = [200101]", "rule 200101 must not be given, but is"),
        ("times = 9\nevery_s = 25\nrule = 200102", "rule 200102 comes early, at line 3 of 9"),
    ],
)
def test_sequences_of_ours(run: Callable[..., list[str | None]], members: str, expected: str | None) -> None:
    text = f'[[sequence]]\nname = "s"\nline = "{HEAD}user bob failed, {{n}}"\n{members}\n'
    assert run("hids", "t.toml", text) == [expected]


INI = f"""
; a comment
[a section]
log 1 pass = {HEAD}failed
log 2 fail = {HEAD}fine
  {HEAD}fine again
rule = 100
alert = 5
decoder = app

[nothing expected]
log 1 fail: {HEAD}failed
rule =
alert =
decoder =
"""


def test_ini_files_as_ossec_reads_them(run: Callable[..., list[str | None]]) -> None:
    assert run("ossec", "t.ini", INI) == [None, None, None]


def test_a_key_that_stands_several_times(run: Callable[..., list[str | None]]) -> None:
    log = f"log 1 pass = {HEAD}failed\n"
    assert run("ossec", "t.ini", f"[s]\n{log * 9}rule = 100\nalert = 5\ndecoder = App\n") == [None]


def test_a_doubled_percent_sign_is_one(run: Callable[..., list[str | None]], tmp_path: Path) -> None:
    path = tmp_path / "p.ini"
    path.write_text("[s]\nlog 1 pass = %%ASA: x %%41\n")
    assert [trial.lines[0].text for trial in read_trials(path, "ossec")] == [b"%ASA: x %%41"]
    assert [trial.lines[0].text for trial in read_trials(path, "wazuh")] == [b"%%ASA: x %%41"]


def test_which_rules_were_reached(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(f'[[case]]\nname = "a"\nline = "{HEAD}fine"\nrule = 0\n')
    trials = Trials(plan("hids", OURS), "web1")
    for trial in read_trials(path, "hids"):
        assert trials.run(trial) is None
    assert trials.reached == {200100}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("t.toml", "[[case]]\nname = 'a'\n", "missing required field `line`"),
        ("t.toml", "[[case]]\nname='a'\nline='b'\nrule=1\nnonsense=1\n", "unknown field `nonsense`"),
        ("t.toml", "[[sequence]]\nname='a'\nline='b'\nrule=1\ntimes=-1\n", "times must be 0 to"),
        ("t.toml", "[[sequence]]\nname='a'\nline='b'\nrule=1\ntimes=0\n", "has no line"),
        ("t.toml", "]", "t.toml"),
        ("t.ini", "log 1 pass = x\n", "t.ini:1: expected [section]"),
        ("t.ini", "[s]\nlog 1 pass =\n", "has no log"),
        ("t.txt", "", "expected a .toml or .ini file"),
    ],
)
def test_what_is_no_test_file(tmp_path: Path, name: str, text: str, problem: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_trials(path, "hids")
    assert problem in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.ini: cannot be read: No such file"):
        read_trials(tmp_path / "gone.ini", "ossec")
