"""An ossec.conf's <rootcheck>: every option of it, what is refused, and that what is printed is read again."""

import os
from pathlib import Path

import pytest

from hids.adapters.ossec_rootcheck import as_toml, rootcheck_section
from hids.core.collect.config import parse
from hids.core.collect.rootcheck import RootcheckConfig
from hids.errors import ConfigError

CONFORMANCE = os.environ.get("HIDS_CONFORMANCE")
WHOLE = """
<ossec_config>
  <syscheck><disabled>yes</disabled></syscheck>
  <rootcheck>
    <disabled>no</disabled> <frequency>36000</frequency> <base_directory>/srv</base_directory>
    <rootkit_files>etc/shared/f.txt</rootkit_files> <rootkit_trojans>/opt/t.txt</rootkit_trojans>
    <system_audit>a.txt</system_audit> <system_audit>b.txt</system_audit>
    <windows_audit>w</windows_audit> <windows_apps>x</windows_apps> <windows_malware>y</windows_malware>
    <scanall>yes</scanall> <readall>yes</readall> <skip_nfs>no</skip_nfs>
    <ignore>/var/a*b, /tmp/x</ignore>
    <check_dev>no</check_dev> <check_files>no</check_files> <check_if>no</check_if> <check_pids>no</check_pids>
    <check_ports>no</check_ports> <check_sys>no</check_sys> <check_trojans>no</check_trojans>
    <check_unixaudit>no</check_unixaudit> <check_winapps>no</check_winapps> <check_winaudit>no</check_winaudit>
    <check_winmalware>no</check_winmalware>
  </rootcheck>
</ossec_config>
<ossec_config><rootcheck><system_audit>c.txt</system_audit></rootcheck></ossec_config>
"""


def section(options: str) -> RootcheckConfig | None:
    return rootcheck_section("ossec.conf", f"<ossec_config><rootcheck>\n{options}</rootcheck></ossec_config>".encode())


def test_every_option():
    config = rootcheck_section("ossec.conf", WHOLE.encode())
    names = ("dev", "files", "if", "pids", "ports", "sys", "trojans", "unixaudit", "winapps", "winaudit", "winmalware")
    assert config == RootcheckConfig(
        disabled=False,
        frequency_s=36_000,
        base_directory="/srv",
        rootkit_files=("/var/ossec/etc/shared/f.txt",),
        rootkit_trojans=("/opt/t.txt",),
        system_audit=("/var/ossec/a.txt", "/var/ossec/b.txt", "/var/ossec/c.txt"),
        windows_audit=("/var/ossec/w",),
        windows_apps=("/var/ossec/x",),
        windows_malware=("/var/ossec/y",),
        scanall=True,
        readall=True,
        skip_nfs=False,
        ignore=("/var/a[*]b*", "/tmp/x*"),  # noqa: S108
        **{f"check_{name}": False for name in names},
    )
    assert parse(as_toml(config), "agent.toml").rootcheck == config


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("<check_dev>maybe</check_dev>", "ossec.conf:2: <check_dev>: expected yes or no, got 'maybe'"),
        ("<frequency>soon</frequency>", "ossec.conf:2: <frequency>: expected a number"),
        ("<frequency>1</frequency>", "frequency_s"),
        ("<chek_dev>yes</chek_dev>", "ossec.conf:2: <chek_dev> is not known"),
        ("<base_directory>srv</base_directory>", "absolute path"),
        ('<ignore type="sregex">^/x</ignore>', "ossec.conf:2: <ignore type=...>"),
        ("<check_dev>yes", "ossec.conf"),
    ],
)
def test_what_is_refused(options: str, complaint: str):
    with pytest.raises(ConfigError) as refused:
        section(options)
    assert complaint in str(refused.value)


def test_a_file_that_says_nothing_of_it():
    assert rootcheck_section("x", b"<ossec_config><global></global></ossec_config>") is None
    config = section("<scanall>no</scanall>")
    assert config is not None
    assert as_toml(config) == "[rootcheck]\ndisabled = false\n"


@pytest.mark.skipif(CONFORMANCE is None, reason="HIDS_CONFORMANCE does not say where OSSEC's own files are")
def test_ossecs_own_files():
    files = list((Path(CONFORMANCE or "") / "ossec/conf").glob("ossec*.conf"))
    found = [rootcheck_section(path.name, path.read_bytes()) for path in files]
    assert any(config is not None and config.rootkit_files for config in found)
