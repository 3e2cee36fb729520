"""What an ossec.conf says of syscheck, in our words."""

import os
from pathlib import Path

import pytest
import tomli

from hids.adapters.ossec_syscheck import Section, as_toml, syscheck_section
from hids.core.collect.config import parse
from hids.core.collect.syscheck import DEFAULT_CHECK, SyscheckConfig
from hids.errors import ConfigError


def section(options: str) -> SyscheckConfig:
    found = syscheck_section("ossec.conf", f"<ossec_config><syscheck>{options}</syscheck></ossec_config>".encode())
    assert found is not None
    return found.config


def test_every_option_has_its_counterpart():
    config = section("""
        <disabled>no</disabled> <frequency>72000</frequency> <scan_day>Sunday</scan_day> <scan_time>9:30 pm</scan_time>
        <scan_on_start>no</scan_on_start> <alert_new_files>no</alert_new_files> <skip_nfs>yes</skip_nfs>
        <prefilter_cmd>/usr/sbin/prelink -y</prefilter_cmd>
        <ignore>/etc/mtab</ignore> <ignore type="sregex">.log$|^/srv/tmp/</ignore> <nodiff>/etc/ssl/private.key</nodiff>
        <directories check_all="yes" realtime="yes" report_changes="yes">/etc, /opt/</directories>
        <directories check_size="yes" check_sum="yes" restrict="^/srv/web|.php$" no_recurse="yes">/srv</directories>
        <directories check_all="yes" check_size="no" recursion_level="3">/usr</directories>
    """)
    assert (config.disabled, config.scan_interval_s, config.scan_day, config.scan_time) == (
        False,
        72_000,
        "sunday",
        "21:30",
    )
    assert (config.scan_on_start, config.alert_new_files, config.skip_nfs) == (False, False, True)
    assert config.prefilter_cmd == ("/usr/sbin/prelink", "-y")
    assert config.ignore == ("/etc/mtab*", "*.log", "/srv/tmp/*")
    assert config.nodiff == ("/etc/ssl/private.key*",)
    etc, opt, srv, usr = config.directory
    assert (etc.path, etc.realtime, etc.report_changes, etc.check) == ("/etc", True, True, DEFAULT_CHECK)
    assert opt.path == "/opt"
    assert (set(srv.check), srv.recursion) == ({"size", "sha256", "sha1", "md5"}, 0)
    assert srv.restrict == (r"^/srv/web|\.php$",)
    assert (set(usr.check), usr.recursion) == (set(DEFAULT_CHECK) - {"size"}, 3)


@pytest.mark.parametrize(
    ("written", "time"),
    [("21:00", "21:00"), ("9pm", "21:00"), ("12am", "00:00"), ("12 pm", "12:00"), ("8:05", "08:05")],
)
def test_times_of_day(written: str, time: str):
    assert section(f"<scan_time>{written}</scan_time>").scan_time == time


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("<frequenzy>1</frequenzy>", "<frequenzy> is not known"),
        ("<disabled>maybe</disabled>", "expected yes or no"),
        ("<scan_time>noon</scan_time>", "expected a time"),
        ("<frequency>often</frequency>", "expected a number"),
        ('<directories chek_all="yes">/etc</directories>', "chek_all"),
        ('<ignore type="sregex">!x</ignore>', "what does not match"),
        ("<directories>etc</directories>", "absolute"),
        ("<scan_day>someday</scan_day>", "scan_day"),
    ],
)
def test_what_is_not_understood_is_refused(options: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        section(options)


def test_what_has_its_place_elsewhere_is_a_note():
    found = syscheck_section(
        "ossec.conf", b"<ossec_config><syscheck>\n<auto_ignore>yes</auto_ignore>\n</syscheck></ossec_config>"
    )
    assert found is not None
    assert found.notes == ("ossec.conf:2: <auto_ignore> is auto_ignore in manager.toml now",)


def test_the_provider_of_who_data_is_taken_over():
    """Wazuh's."""
    more = "<restart_audit>no</restart_audit><startup_healthcheck>yes</startup_healthcheck>"
    found = whodata(f"<provider>audit</provider>{more}")
    assert found.config.whodata_provider == "audit"
    assert [note.partition("> ")[2] for note in found.notes] == [
        "has no counterpart: no auditd is needed, and one that runs is left alone",
        "is always done, each minute",
    ]
    other = whodata("<provider>ebpf</provider>")
    assert other.config.whodata_provider == "auto"
    assert "'ebpf' has no counterpart" in other.notes[0]


def whodata(options: str) -> Section:
    text = f"<ossec_config><syscheck><whodata>{options}</whodata></syscheck></ossec_config>"
    found = syscheck_section("ossec.conf", text.encode())
    assert found is not None
    return found


def test_a_file_without_syscheck_says_nothing():
    assert syscheck_section("ossec.conf", b"<ossec_config><global></global></ossec_config>") is None


def test_what_is_printed_is_a_part_of_agent_toml():
    text = b"""<ossec_config><syscheck><directories check_all="yes" restrict="a'b&quot;">/etc</directories>
        <ignore>/etc/\xc3\xbc</ignore></syscheck></ossec_config>"""
    found = syscheck_section("ossec.conf", text)
    assert found is not None
    assert parse(as_toml(found), "agent.toml").syscheck == found.config


@pytest.mark.skipif("HIDS_CONFORMANCE" not in os.environ, reason="HIDS_CONFORMANCE names no folder with OSSEC's files")
def test_the_configuration_that_ossec_ships():
    path = Path(os.environ["HIDS_CONFORMANCE"]) / "ossec" / "conf" / "ossec-server.conf"
    found = syscheck_section(str(path), path.read_bytes())
    assert found is not None
    assert {"/etc", "/usr/bin", "/boot"} <= {folder.path for folder in found.config.directory}
    assert tomli.loads(as_toml(found))["syscheck"]["scan_interval_s"] > 0
