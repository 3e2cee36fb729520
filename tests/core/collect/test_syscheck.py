"""The section `[syscheck]`: what is refused, and how the manager's part is added to the agent's own."""

import pytest

from hids.core.collect.config import AgentConfig, CentralConfig, SharedConfig, parse, refusal_of
from hids.core.collect.shared import parse_file
from hids.core.collect.syscheck import DirectoryConfig, SyscheckConfig, check, merged
from hids.errors import ConfigError


def test_a_folder_with_options():
    text = """
        [syscheck]
        directories = ["/bin"]
        [[syscheck.directory]]
        path = "/etc"
        check = ["size", "md5"]
        realtime = false
        restrict = ['\\.conf$']
        recursion = 0
    """
    config = parse(text, "agent.toml").syscheck
    assert config.is_on
    assert [folder.path for folder in config.folders] == ["/bin", "/etc"]
    assert config.directory[0].check == ("size", "md5")
    assert not parse("[syscheck]\ndirectories = ['/bin']\ndisabled = true", "agent.toml").syscheck.is_on
    assert not SyscheckConfig().is_on


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('directories = ["etc"]', "absolute"),
        ('directories = ["/etc/*"]', "without patterns"),
        ('directories = ["/etc"]\n[[syscheck.directory]]\npath = "/etc"', "number 1: path '/etc' is there twice"),
        ('[[syscheck.directory]]\npath = "/etc"\nrestrict = ["("]', "number 1: restrict"),
        ('[[syscheck.directory]]\npath = "/etc"\ncheck = ["colour"]', "colour"),
        ('[[syscheck.directory]]\npath = "/etc"\nrecursion = -1', "recursion"),
        ('ignore_regex = ["*"]', "ignore_regex"),
        ('scan_time = "25:00"', "scan_time"),
        ('scan_day = "noday"', "scan_day"),
        ("scan_interval_s = 0", "at least 1, got 0; 0 goes with"),
        ("max_file_bytes = -1", "max_file_bytes"),
        ('prefilter_cmd = ["prelink"]', "whole path"),
        ("nice = 20", "nice"),
        ("max_files = 0", "max_files"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint.replace("(", r"\(")):
        parse(f"[syscheck]\n{text}", "agent.toml")


def test_scans_at_a_time_of_day_only():
    check(SyscheckConfig(scan_interval_s=0, scan_time="03:30"))


def test_the_manager_s_part_is_added_and_the_agent_s_own_is_heard_first():
    own = SyscheckConfig(
        directories=("/etc",), ignore=("a",), prefilter_cmd=("/bin/x",), directory=(DirectoryConfig(path="/srv"),)
    )
    shared = SyscheckConfig(
        directories=("/srv", "/bin"),
        directory=(DirectoryConfig(path="/etc", realtime=False), DirectoryConfig(path="/opt")),
        ignore=("a", "b"),
        scan_interval_s=60,
    )
    both = merged(own, shared)
    assert both.directories == ("/etc", "/bin")
    assert [folder.path for folder in both.directory] == ["/srv", "/opt"]
    assert both.ignore == ("a", "b")
    assert (both.scan_interval_s, both.prefilter_cmd) == (60, ("/bin/x",))
    check(both)


def test_no_manager_has_an_agent_run_a_filter():
    shared = SharedConfig(syscheck=SyscheckConfig(prefilter_cmd=("/bin/sh", "-c", "x")))
    willing = AgentConfig(central=CentralConfig(accept_commands=True))
    assert "prefilter_cmd" in refusal_of(willing, shared)
    with pytest.raises(ConfigError, match="prefilter_cmd"):
        parse_file('[syscheck]\nprefilter_cmd = ["/bin/sh"]', "all.toml")
