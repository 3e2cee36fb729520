"""Rules about Windows' registry, on real hives."""

import lzma
import os
from pathlib import Path

import pytest

from hids.agent.policyhost import LocalHost
from hids.agent.registrykeys import RegistryError, text_of, whole_key
from hids.agent.registrysource import HiveRegistry, registry_of
from hids.core.policy.host import Unavailable
from hids.core.policy.judge import holds, judge
from hids.core.policy.load import load_policy
from hids.core.policy.rule import parse_rule

SAMPLES = os.environ.get("HIDS_SAMPLES")
CONFORMANCE = os.environ.get("HIDS_CONFORMANCE")
needs_samples = pytest.mark.skipif(not SAMPLES, reason="needs HIDS_SAMPLES, a folder with real hives")
SYSTEM = r"HKEY_LOCAL_MACHINE\SYSTEM"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> LocalHost:
    """A host whose registry is that of a real Windows 7."""
    folder = tmp_path_factory.mktemp("hives")
    for name in ("SYSTEM", "NTUSER.DAT", "corrupted_system_hive"):
        (folder / name).write_bytes(lzma.decompress((Path(SAMPLES or "") / "registry" / f"{name}.xz").read_bytes()))
    registry = HiveRegistry(
        (
            (SYSTEM, str(folder / "SYSTEM")),
            ("HKCU", str(folder / "NTUSER.DAT")),
            (r"HKLM\Broken", str(folder / "corrupted_system_hive")),
            (r"HKLM\None", str(folder / "none")),
        )
    )
    return LocalHost(timeout_s=1, registry=registry)


@needs_samples
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (r"r:HKLM\System\CurrentControlSet\Control\Lsa", True),
        (r"r:HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Control\Lsa -> CrashOnAuditFail -> 0", True),
        (r"r:HKLM\SYSTEM\CurrentControlSet\Control\Lsa -> LimitBlankPasswordUse -> 1", True),
        (r"not r:HKLM\SYSTEM\CurrentControlSet\Control\Lsa -> NoLMHash -> 0", True),
        (
            r"r:HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters -> autodisconnect -> n:^(\d+) compare <= 15",
            True,
        ),
        (r"r:HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters -> NullSessionPipes -> r:^$", True),
        (r"r:HKLM\SYSTEM\CurrentControlSet\Control\Lsa -> Security Packages -> r:wdigest", True),
        (r"r:HKLM\SYSTEM\CurrentControlSet\Control\Lsa -> fullprivilegeauditing -> 00", True),
        (r"r:HKLM\SYSTEM\CurrentControlSet\Services\NoSuch", False),
        (r"r:HKCU\Control Panel\Desktop -> DragFullWindows -> 1", True),
        (r"r:HKLM\SYSTEM\CurrentControlSet\Control\Lsa -> NoSuch -> 1", "no such value in the registry key"),
        (r"r:HKLM\SOFTWARE\Microsoft", "no hive is named that has this key"),
        (r"r:HKLM\SYSTEM2\x", "no hive is named that has this key"),
        (r"r:HKLM\None\x", "No such file"),
    ],
)
def test_rules_on_a_real_registry(host: LocalHost, rule: str, *, expected: bool | str):
    try:
        said: bool | str = holds(parse_rule(rule, {}, "pcre2"), host)
    except Unavailable as error:
        said = str(error)
    assert said == expected if isinstance(expected, bool) else expected in str(said)


@needs_samples
def test_a_broken_hive_gives_values_or_words(host: LocalHost):
    for key in ("", "Select", r"ControlSet001\Control", r"CurrentControlSet\Services\Tcpip\Parameters"):
        try:
            found = host.registry(rf"HKLM\Broken\{key}")
        except Unavailable as error:
            assert "damaged, or no hive" in str(error)
        else:
            assert found is None or all(isinstance(value, str) for value in found.values())


@needs_samples
@pytest.mark.slow
@pytest.mark.skipif(not CONFORMANCE, reason="needs HIDS_CONFORMANCE, a folder with Wazuh's policies")
def test_a_policy_of_wazuh_on_a_real_windows(host: LocalHost):
    path = Path(CONFORMANCE or "") / "wazuh/sca/windows/cis_win2012r2.yml"
    policy = load_policy(path.read_bytes(), path.name)
    results = [judge(check, host).result for check in policy.checks]
    assert results.count("passed") >= 10
    assert results.count("failed") >= 10
    assert results.count("not applicable") > 100, "most ask the SOFTWARE hive, which nobody named"


def test_without_windows_and_without_hives_there_is_none():
    assert registry_of(()) is None
    with pytest.raises(RegistryError, match="no hive is named"):
        HiveRegistry(((SYSTEM, "/nowhere"),)).values(r"HKU\x")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("x", "x"),
        (7, "7"),
        (b"\x00\xff", "00ff"),
        (["a", "b"], "a b"),
        ([], ""),
        (None, ""),
        ("x" * 99_999, "x" * 16_384),
    ],
)
def test_data_as_text(data: object, text: str):
    assert text_of(data) == text


def test_roots_have_short_names():
    assert whole_key(r"hklm\a\b") == r"HKEY_LOCAL_MACHINE\a\b"
    assert whole_key("HKU") == "HKEY_USERS"
    assert whole_key(r"HKEY_USERS\a") == r"HKEY_USERS\a"
