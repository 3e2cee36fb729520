r"""What an ossec.conf says of Windows' registry, as `[[registry]]`."""

import fnmatch

import pytest
import tomli

from hids.adapters.ossec_registry import Tables, as_toml, registry_tables
from hids.adapters.ossec_syscheck import syscheck_section
from hids.core.collect.config import parse
from hids.core.collect.registry import RegistryConfig
from hids.errors import ConfigError

WINDOWS = r"""<ossec_config><syscheck>
  <frequency>43000</frequency>
  <directories recursion_level="0" restrict="regedit.exe$|system.ini$">%WINDIR%</directories>
  <directories realtime="yes">C:\Programs</directories>
  <windows_registry>HKEY_LOCAL_MACHINE\Software\Classes\batfile</windows_registry>
  <windows_registry arch="both">HKEY_LOCAL_MACHINE\Software\Policies\, HKEY_LOCAL_MACHINE\Security</windows_registry>
  <windows_registry arch="64bit" recursion_level="2" tags="run">HKEY_LOCAL_MACHINE\Software\Run</windows_registry>
  <windows_registry>HKEY_LOCAL_MACHINE\Software\Run</windows_registry>
  <windows_registry check_mtime="no">HKEY_USERS\*\Software</windows_registry>
  <registry_ignore>HKEY_LOCAL_MACHINE\Security\Policy\Secrets</registry_ignore>
  <registry_ignore arch="64bit" type="sregex">\Enum$|^HKEY_LOCAL_MACHINE\Soft[ware]</registry_ignore>
  <registry_ignore arch="both">HKEY_LOCAL_MACHINE\Both</registry_ignore>
</syscheck></ossec_config>"""


def read(options: str) -> Tables:
    return registry_tables("ossec.conf", f"<ossec_config><syscheck>{options}</syscheck></ossec_config>".encode())


def is_ignored(table: RegistryConfig, path: str) -> bool:
    """As the registry reader asks."""
    return any(fnmatch.fnmatchcase(path.casefold(), each.casefold()) for each in table.ignore)


def test_keys_become_tables():
    batfile, policies, security, run = registry_tables("ossec.conf", WINDOWS.encode()).tables
    assert (batfile.path, batfile.arch, batfile.scan_interval_s) == (
        r"HKEY_LOCAL_MACHINE\Software\Classes\batfile",
        "32",
        43_000,
    )
    assert (policies.arch, security.path) == ("both", r"HKEY_LOCAL_MACHINE\Security")
    assert (run.arch, run.recursion) == ("both", 512)


def test_what_is_ignored_is_so_with_all_below_and_nothing_beside():
    table = registry_tables("ossec.conf", WINDOWS.encode()).tables[0]
    secrets = r"HKEY_LOCAL_MACHINE\SECURITY\Policy\Secrets"
    assert is_ignored(table, f"[x32] {secrets}")
    assert is_ignored(table, rf"[x32] {secrets}\sub\\value")
    assert is_ignored(table, rf"[x32] {secrets}\\value")
    assert not is_ignored(table, f"[x64] {secrets}")
    assert not is_ignored(table, f"[x32] {secrets}2")
    assert is_ignored(table, r"[x64] HKEY_LOCAL_MACHINE\System\Enum")
    assert is_ignored(table, r"[x64] HKEY_LOCAL_MACHINE\System\Enum\a")
    assert not is_ignored(table, r"[x64] HKEY_LOCAL_MACHINE\System\Enumerated")
    assert is_ignored(table, r"[x64] HKEY_LOCAL_MACHINE\Soft[ware]\x")
    assert not is_ignored(table, r"[x64] HKEY_LOCAL_MACHINE\Softw")
    assert is_ignored(table, r"[x64] HKEY_LOCAL_MACHINE\Both")
    assert is_ignored(table, r"[x32] HKEY_LOCAL_MACHINE\Both\x")


def test_what_cannot_be_taken_over_is_a_note():
    notes = registry_tables("ossec.conf", WINDOWS.encode()).notes
    assert [note.split(": ", 1)[1] for note in notes] == [
        "tags: has no counterpart",
        "check_mtime: keys and values are always checked for all",
        r"HKEY_USERS\*\Software: name the keys; a pattern cannot be taken over",
    ]
    syscheck = syscheck_section("ossec.conf", WINDOWS.encode())
    assert syscheck is not None
    assert syscheck.config.directory == ()
    assert [note.split(": ", 1)[1] for note in syscheck.notes] == [
        "%WINDIR%: files of Windows are not watched",
        r"C:\Programs: files of Windows are not watched",
    ]


def test_it_is_toml_that_an_agent_reads():
    found = registry_tables("ossec.conf", WINDOWS.encode())
    assert parse(as_toml(found), "agent.toml").registry == found.tables
    assert len(tomli.loads(as_toml(found))["registry"]) == 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (r'<windows_registry arch="16bit">HKEY_USERS\x</windows_registry>', "ossec.conf:1: arch: expected 32bit"),
        (r'<windows_registry odd="1">HKEY_USERS\x</windows_registry>', "odd=...> is not known"),
        (
            r'<windows_registry recursion_level="x">HKEY_USERS\x</windows_registry>',
            "recursion_level: expected a number",
        ),
        (r'<windows_registry recursion_level="999">HKEY_USERS\x</windows_registry>', "<= 512"),
        (r'<windows_registry check_sum="x">HKEY_USERS\x</windows_registry>', "check_sum: expected yes or no"),
        (r"<windows_registry>Software\x</windows_registry>", "expected a key such as HKEY_LOCAL_MACHINE"),
        ('<registry_ignore type="sregex">!x</registry_ignore>', "what does not match"),
    ],
)
def test_what_is_not_understood_is_refused(options: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        read(options)


def test_without_keys_or_with_syscheck_off_there_are_no_tables():
    key = r"<windows_registry>HKEY_USERS\x</windows_registry>"
    assert read("<directories>/etc</directories>").tables == ()
    assert read(f"<disabled>yes</disabled>{key}").tables == ()
    assert as_toml(read("<registry_ignore>x</registry_ignore>")) == ""
