"""Policies in the configuration: times, what is sent, and how two files of the manager's add up."""

import datetime
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hids.core.collect import policy
from hids.core.collect.config import parse
from hids.core.collect.policy import (
    PolicyConfig,
    SharedPolicyConfig,
    added,
    check,
    is_policy_file,
    merged,
    next_look,
    pack,
    unpack,
)
from hids.errors import ConfigError


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5_000))
def test_a_policy_goes_the_way_there_and_back(text: str):
    assert unpack(pack("a.yml", text).packed) == text.encode()


@given(st.binary(max_size=200))
def test_what_is_no_policy_is_refused(packed: bytes):
    try:
        unpack(packed)
    except ConfigError as error:
        assert "policy" in str(error)


def test_the_size_is_looked_at_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch):
    packed = pack("a.yml", "x" * 1_000).packed
    monkeypatch.setattr(policy, "MAX_POLICY_BYTES", 999)
    with pytest.raises(ConfigError, match="at most 999 bytes"):
        unpack(packed)
    stream = zstandard.ZstdCompressor().compressobj()
    with pytest.raises(ConfigError, match="at most"):
        unpack(stream.compress(b"x") + stream.flush())  # does not say its size


def test_the_hosts_own_times_are_heard():
    shared = SharedPolicyConfig(files=("a.yml",), scan_time="03:00", scan_day="monday")
    assert merged(PolicyConfig(), None) == PolicyConfig()
    assert merged(PolicyConfig(timeout_s=5), shared) == PolicyConfig(timeout_s=5, scan_time="03:00", scan_day="monday")
    own = PolicyConfig(scan_interval_s=60)
    assert merged(own, shared) == own


def test_files_of_the_manager_add_up():
    one = SharedPolicyConfig(files=("a.yml", "b.yml"), scan_time="03:00")
    two = SharedPolicyConfig(files=("b.yml", "c.yml"))
    assert added(one, two) == SharedPolicyConfig(files=("a.yml", "b.yml", "c.yml"), scan_time="03:00")
    assert added(two, msgspec.structs.replace(one, scan_time="04:00")).scan_time == "04:00"  # type: ignore[union-attr]
    assert (added(None, None), added(None, one), added(one, None)) == (None, one, one)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (PolicyConfig(scan_time="3:30"), 'expected "HH:MM"'),
        (PolicyConfig(scan_day="monday", scan_month_day=3), "expected one of them"),
        (PolicyConfig(files=("a.yml",)), "absolute paths"),
        (SharedPolicyConfig(files=("/etc/a.yml",)), "beside this file"),
        (SharedPolicyConfig(files=("../a.yml",)), "beside this file"),
        (SharedPolicyConfig(files=tuple(f"{number}.yml" for number in range(65))), "at most 64"),
    ],
)
def test_what_makes_no_sense_is_refused(config: PolicyConfig | SharedPolicyConfig, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        check(config)


def test_in_agent_toml():
    assert parse('[policy]\nscan_day = "friday"\n', "x").policy.scan_day == "friday"
    with pytest.raises(ConfigError, match="x: .policy. files: expected absolute paths"):
        parse('[policy]\nfiles = ["a.yml"]\n', "x")
    with pytest.raises(ConfigError, match="scan_month_day"):
        parse("[policy]\nscan_month_day = 32\n", "x")


@pytest.mark.parametrize(
    ("name", "is_one"), [("a.yml", True), ("a-1.yaml", True), (".a.yml", False), ("a/b.yml", False), ("a.toml", False)]
)
def test_names(name: str, *, is_one: bool):
    assert is_policy_file(name) is is_one


@pytest.mark.parametrize(
    ("times", "last", "now", "due"),
    [
        ({"scan_interval_s": 3600}, (2026, 11, 24, 3), (2026, 11, 24, 3, 10), (2026, 11, 24, 4)),
        ({"scan_interval_s": 3600}, (2026, 11, 25, 3), (2026, 11, 24, 3, 10), (2026, 11, 24, 4, 10)),
        ({"scan_time": "04:00"}, (2026, 11, 24, 4), (2026, 11, 24, 4), (2026, 11, 25, 4)),
        ({"scan_time": "04:00"}, (2026, 11, 1), (2026, 11, 24, 3), (2026, 11, 24, 4)),
        ({"scan_time": "04:00", "scan_interval_s": 1}, (2026, 11, 24, 4), (2026, 11, 24, 4), (2026, 11, 25, 4)),
        ({"scan_day": "monday"}, (2026, 11, 24), (2026, 11, 24, 1), (2026, 11, 30)),
        ({"scan_month_day": 24, "scan_time": "04:00"}, (2026, 11, 24, 4), (2026, 11, 24, 5), (2026, 12, 24, 4)),
        ({"scan_time": "04:00"}, (2026, 12, 24), (2026, 11, 24, 3), (2026, 11, 25, 4)),
    ],
)
def test_when_a_look_is_due(times: dict[str, Any], last: tuple[int, ...], now: tuple[int, ...], due: tuple[int, ...]):
    zone = datetime.timezone(datetime.timedelta(hours=2))
    last_at, now_at, due_at = (datetime.datetime(*each, tzinfo=zone) for each in (last, now, due))  # type: ignore[arg-type,misc]
    assert next_look(PolicyConfig(**times), last_at, now_at) == due_at
