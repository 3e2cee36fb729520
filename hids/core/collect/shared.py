"""What a manager sets for which of its agents: files of configuration, each with the agents that it is for.

    match = { group = ["web"], name = ["web*"], os = ["debian*"] }      all of those that are given must match

    [[source]]
    path = "/var/log/nginx/*.log"

The files are taken in the order of their names and add up. Pure: what an agent gets is a function of the files and of its name,
groups and system.
"""

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from hids.core.collect.config import (
    AgentConfig,
    CentralConfig,
    SharedConfig,
    merged,
    problem_of,
    read_toml,
    refusal_of,
)
from hids.core.collect.syscheck import SyscheckConfig
from hids.errors import ConfigError


_WILLING = AgentConfig(central=CentralConfig(accept_commands=True))
"""An agent that takes all that any agent may take."""


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which agents; empty: all. `*` and `?` in names and systems."""

    group: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    os: tuple[str, ...] = ()


class Member(msgspec.Struct, frozen=True):
    """An agent, as far as it matters here."""

    name: str
    groups: tuple[str, ...] = ()
    os: str = ""


class SharedFile(SharedConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: what is set, and for whom."""

    match: Match = Match()

    def is_for(self, member: Member) -> bool:
        """Whether this agent gets it."""
        match = self.match
        return (
            (not match.group or bool(set(match.group) & set(member.groups)))
            and _matches(match.name, member.name)
            and _matches(match.os, member.os)
        )


class Edition(msgspec.Struct, frozen=True):
    """What one agent gets."""

    version: str = ""
    """Hash of `body`; empty: nothing is set."""
    body: bytes = b""


class Trial(msgspec.Struct, frozen=True):
    """A version that some agents try."""

    number: int
    canaries: tuple[str, ...]
    until_ms: int


class Rollout(msgspec.Struct, frozen=True):
    """Which version is for whom."""

    current: int = 0
    trial: Trial | None = None
    last: str = ""
    """How the last trial ended."""
    outcome: str = ""


def parse_file(text: str, where: str) -> SharedFile:
    """Read one file, with the parser that agents have.

    Raises:
        ConfigError: not TOML, an unknown key, or a value that makes no sense.
    """
    file = read_toml(text, where, SharedFile)
    problem = refusal_of(_WILLING, file)
    if problem:
        raise ConfigError(f"{where}: {problem}")
    return file


def parse_files(texts: Mapping[str, str]) -> dict[str, SharedFile]:
    """Read all files.

    Raises:
        ConfigError: all that is wrong, a line for each file.
    """
    files: dict[str, SharedFile] = {}
    problems: list[str] = []
    for name in sorted(texts):
        try:
            files[name] = parse_file(texts[name], name)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return files


def edition_for(files: Mapping[str, SharedFile], member: Member) -> Edition:
    """What this agent gets.

    Raises:
        ConfigError: the files that are for it do not go together.
    """
    parts = [files[name] for name in sorted(files) if files[name].is_for(member)]
    if not parts:
        return Edition()
    shared = _added(parts)
    problem = problem_of(merged(AgentConfig(), shared))
    if problem:
        raise ConfigError(f"agent {member.name}: {problem}")
    body = msgspec.msgpack.encode(shared)
    return Edition(hashlib.sha256(body).hexdigest()[:16], body)


def _added(parts: Sequence[SharedConfig]) -> SharedConfig:
    """Later files come first where two name the same source or label."""
    whole = AgentConfig(syscheck=SyscheckConfig())
    for part in parts:
        names = {source.name for source in part.source}
        kept = tuple(source for source in whole.source if source.name not in names)
        whole = merged(msgspec.structs.replace(whole, source=kept), msgspec.structs.replace(part, labels={}))
        whole = msgspec.structs.replace(whole, labels={**whole.labels, **part.labels})
    syscheck = whole.syscheck if any(part.syscheck is not None for part in parts) else None
    return SharedConfig(exclude=whole.exclude, labels=whole.labels, source=whole.source, syscheck=syscheck)


def _matches(patterns: Sequence[str], text: str) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)
