"""Policies in the configuration: the section `[policy]` of agent.toml, and policies that a manager sends.

agents.d/web.toml     [policy]              the manager's file names policies beside it, and may set the times
                      files = ["web.yml"]
SharedConfig.policies (SentPolicy, ...)     what the agent gets of them, as part of its configuration
"""

import datetime
import re
from typing import Annotated, Final

import msgspec
import zstandard

from hids.core.collect.schedule import next_at
from hids.core.collect.syscheck import Day
from hids.core.packed import unpack as unpack_frame
from hids.errors import ConfigError

MAX_FILES: Final = 64
MAX_POLICY_BYTES: Final = 8 * 1024 * 1024
"""Of one policy, as hids.core.policy.document takes it. Wazuh's largest has 1.2 MB."""
_MINUTE, _SECOND = datetime.timedelta(minutes=1), datetime.timedelta(seconds=1)
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.ya?ml")


class PolicyTimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When policies are looked at."""

    scan_interval_s: Annotated[int, msgspec.Meta(ge=1, le=366 * 86_400)] = 43_200
    """From one look to the next. With one of the following the look then waits for that time."""
    scan_day: Day = ""
    scan_month_day: Annotated[int, msgspec.Meta(ge=0, le=31)] = 0
    """Day of the month; 0: any. A month without it has none."""
    scan_time: str = ""
    """"HH:MM", local time."""
    scan_on_start: bool = True

    @property
    def is_at_times(self) -> bool:
        """Whether a look waits for a day or a time."""
        return bool(self.scan_day or self.scan_month_day or self.scan_time)


class PolicyConfig(PolicyTimes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[policy]` of the agent's own file."""

    files: tuple[str, ...] = ()
    """Paths, or patterns of paths."""
    ignore: tuple[str, ...] = ()
    """Globs over whole paths of files that are left out."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    """Of one command."""
    limit_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 1800.0
    """Of one policy."""
    commands: bool = True
    skip_network: bool = True


class SharedPolicyConfig(PolicyTimes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[policy]` of a file of the manager's: which policies it sends, and the times for all policies."""

    files: tuple[str, ...] = ()
    """Names of files beside it."""


class SentPolicy(msgspec.Struct, frozen=True):
    """A policy that a manager sends."""

    file: str
    """Its name on the manager."""
    packed: bytes
    """zstd of its text."""


def next_look(times: PolicyTimes, last: datetime.datetime, now: datetime.datetime) -> datetime.datetime:
    """When the look after the last one is due; `now` also counts. A clock that went back puts it off no longer than usual.

    Args:
        times: when to look.
        last: when the last look was; long ago: never.
        now: with the zone in which `scan_time` is.
    """
    due = min(last, now) + datetime.timedelta(seconds=times.scan_interval_s)
    if not times.is_at_times:
        return due
    due = max(due, min(last, now) + _MINUTE, now)
    return next_at(due - _SECOND, times.scan_day, times.scan_time, times.scan_month_day)


def pack(file: str, text: str) -> SentPolicy:
    """Make a policy ready to be sent."""
    return SentPolicy(file, zstandard.ZstdCompressor(level=9).compress(text.encode()))


def unpack(packed: bytes) -> bytes:
    """The text of a policy that was sent.

    Raises:
        ConfigError: it is damaged, or larger than a policy may be.
    """
    try:
        return unpack_frame(packed, MAX_POLICY_BYTES)
    except ValueError as error:
        raise ConfigError(f"the policy is damaged: it {error}") from error


def is_policy_file(name: str) -> bool:
    """Whether a file beside the manager's files is taken for a policy."""
    return _NAME.fullmatch(name) is not None


def merged(own: PolicyConfig, shared: SharedPolicyConfig | None) -> PolicyConfig:
    """The agent's own section; the manager's times where it has none of its own."""
    if shared is None or _times(own) != PolicyTimes():
        return own
    return msgspec.structs.replace(own, **msgspec.structs.asdict(_times(shared)))


def added(first: SharedPolicyConfig | None, second: SharedPolicyConfig | None) -> SharedPolicyConfig | None:
    """Two files of the manager's: files add up, the later times hold where it sets some."""
    if first is None or second is None:
        return first or second
    times = second if _times(second) != PolicyTimes() else first
    return msgspec.structs.replace(times, files=tuple(dict.fromkeys((*first.files, *second.files))))


def check(config: PolicyTimes) -> None:
    """Find what the types cannot say.

    Raises:
        ConfigError: which key, what was expected, what came.
    """
    if config.scan_time and not _TIME.fullmatch(config.scan_time):
        raise ConfigError(f'[policy] scan_time: expected "HH:MM" such as "03:30", got {config.scan_time!r}')
    if config.scan_day and config.scan_month_day:
        raise ConfigError("[policy] scan_day, scan_month_day: expected one of them, got both")
    match config:
        case PolicyConfig():
            for path in config.files:
                if not path.startswith("/"):
                    raise ConfigError(f"[policy] files: expected absolute paths, got {path!r}")
        case SharedPolicyConfig():
            for name in config.files:
                if not is_policy_file(name):
                    raise ConfigError(f"[policy] files: expected names such as web.yml beside this file, got {name!r}")
            if len(config.files) > MAX_FILES:
                raise ConfigError(f"[policy] files: at most {MAX_FILES}, got {len(config.files)}")
        case _:
            pass


def _times(config: PolicyTimes) -> PolicyTimes:
    return PolicyTimes(**{key: getattr(config, key) for key in PolicyTimes.__struct_fields__})
