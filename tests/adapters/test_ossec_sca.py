"""What a Wazuh agent's ossec.conf says of policies, as `[policy]`."""

import datetime

import pytest

from hids.adapters.ossec_sca import as_toml, sca_section
from hids.core.collect.config import parse
from hids.core.collect.policy import PolicyConfig
from hids.core.collect.schedule import next_at
from hids.errors import ConfigError


def section(options: str) -> PolicyConfig:
    found = sca_section("ossec.conf", f"<ossec_config>\n<sca>{options}</sca></ossec_config>".encode(), "/opt/wazuh")
    assert found is not None
    return found.config


def test_every_option_has_its_counterpart():
    config = section("""
        <enabled>yes</enabled> <scan_on_start>no</scan_on_start> <interval>6h</interval> <skip_nfs>no</skip_nfs>
        <policies>
          <policy>etc/shared/ours.yml</policy> <policy>/srv/theirs.yml</policy>
          <policy enabled="no">cis_debian12.yml</policy> <policy enabled="no">ruleset/sca/x[1].yml</policy>
        </policies>
    """)
    assert (config.scan_on_start, config.scan_interval_s, config.skip_network) == (False, 6 * 3600, False)
    assert config.files == ("/opt/wazuh/ruleset/sca/*.yml", "/opt/wazuh/etc/shared/ours.yml", "/srv/theirs.yml")
    assert config.ignore == ("/opt/wazuh/ruleset/sca/cis_debian12.yml", "/opt/wazuh/ruleset/sca/x[[]1].yml")
    assert section("<enabled>yes</enabled>").scan_interval_s == PolicyConfig().scan_interval_s


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("12h", 43_200), ("3d", 259_200), ("1w", 604_800)]
)
def test_intervals(written: str, seconds: int):
    assert section(f"<interval>{written}</interval>").scan_interval_s == seconds


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("<time>9:30 pm</time>", (4, 5, 6)),
        ("<time>21:30</time><interval>3d</interval>", (6, 9, 12)),
        ("<time>21:30</time><wday>Mon</wday><interval>1w</interval>", (9, 16, 23)),
        ("<time>21:30</time><wday>monday</wday><interval>2w</interval>", (16, 30, 44)),
    ],
)
def test_times_come_as_often_as_with_wazuh(options: str, expected: tuple[int, ...]):
    """Days of November 2026 on which a look is due after one on its third, a Tuesday, or on the second, a Monday."""
    config = section(options)
    at = datetime.datetime(2026, 11, 2 if config.scan_day else 3, 21, 30, 5, tzinfo=datetime.UTC)
    days: list[int] = []
    for _ in expected:
        at = next_at(at + datetime.timedelta(seconds=config.scan_interval_s), config.scan_day, config.scan_time)
        days.append((at.date() - datetime.date(2026, 10, 31)).days)
    assert tuple(days) == expected


def test_a_day_of_the_month():
    config = section("<day>15</day><time>04:00</time><interval>2M</interval>")
    assert (config.scan_month_day, config.scan_time, config.scan_interval_s) == (15, "04:00", 45 * 86_400)


def test_what_has_its_place_elsewhere_is_a_note_and_all_is_toml():
    found = sca_section(
        "ossec.conf", b"<ossec_config><sca><request_db_interval>5m</request_db_interval></sca></ossec_config>"
    )
    assert found is not None
    assert found.notes == (
        "ossec.conf:1: <request_db_interval> has no counterpart: each result is told once, when it is news",
    )
    assert parse(as_toml(found), "agent.toml").policy == found.config


def test_nothing_or_switched_off_is_nothing():
    assert sca_section("ossec.conf", b"<ossec_config><rules></rules></ossec_config>") is None
    assert sca_section("ossec.conf", b"<ossec_config><sca><enabled>no</enabled></sca></ossec_config>") is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("<enabled>maybe</enabled>", "ossec.conf:2: <enabled>: expected yes or no"),
        ("<interval>often</interval>", "ossec.conf:2: <interval>: expected a number"),
        ("<interval>0</interval><time>25:00</time>", "<time>: expected a time"),
        ("<wday>someday</wday>", "<wday>: expected a day"),
        ("<day>32</day>", "<= 31"),
        ("<day>1</day><wday>monday</wday>", "expected one of them"),
        ("<odd>1</odd>", "<odd> is not known in <sca>"),
        ("<policies><odd>1</odd></policies>", "<odd> is not known in <policies>"),
        ('<policies><policy enabled="x">a</policy></policies>', "enabled: expected yes or no"),
    ],
)
def test_what_is_not_understood_is_refused(options: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        section(options)
