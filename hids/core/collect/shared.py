"""What a manager sets for which of its agents: files of configuration, each with the agents that it is for.

    match = { group = ["web"], name = ["web*"], os = ["debian*"] }      all of those that are given must match

    [[source]]
    path = "/var/log/nginx/*.log"

    [policy]
    files = ["web.yml"]                 # a policy beside this file

The files are taken in the order of their names and add up. Pure: what an agent gets is a function of the files and of its name,
groups and system.
"""

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from hids.core.collect.config import (
    MAX_CONFIG_BYTES,
    AgentConfig,
    CentralConfig,
    SentConfig,
    SharedConfig,
    merged,
    problem_of,
    read_toml,
    refusal_of,
)
from hids.core.collect.policy import SentPolicy, added, is_policy_file, pack
from hids.core.collect.syscheck import SyscheckConfig
from hids.errors import ConfigError

MAX_BODY = MAX_CONFIG_BYTES - 64 * 1024
"""Of what an agent gets: it travels in one frame, with its signature."""
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


class _Written(SharedConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file, as it is written."""

    match: Match = Match()


class SharedFile(SentConfig, frozen=True, kw_only=True):
    """One file with the policies that it names: what is set, and for whom."""

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


def parse_file(text: str, where: str, others: Mapping[str, str] | None = None) -> SharedFile:
    """Read one file, with the parser that agents have.

    Args:
        text: what stands in it.
        where: its name, for complaints.
        others: name -> text of the policies beside it.

    Raises:
        ConfigError: not TOML, an unknown key, or a value that makes no sense.
    """
    written = read_toml(text, where, _Written)
    problem = refusal_of(_WILLING, written)
    if problem:
        raise ConfigError(f"{where}: {problem}")
    fields = {key: getattr(written, key) for key in _Written.__struct_fields__}
    return SharedFile(**fields, policies=tuple(_policies(written, where, others or {})))


def _policies(written: SharedConfig, where: str, others: Mapping[str, str]) -> Iterable[SentPolicy]:
    for name in written.policy.files if written.policy is not None else ():
        if name not in others:
            raise ConfigError(f"{where}: [policy] files: there is no {name} beside this file")
        yield pack(name, others[name])


def parse_files(texts: Mapping[str, str]) -> dict[str, SharedFile]:
    """Read all files. What is in policies is not looked at (hids.core.policy.load does).

    Args:
        texts: name -> text; policies are those that end in .yml or .yaml.

    Raises:
        ConfigError: all that is wrong, a line for each file.
    """
    policies = {name: text for name, text in texts.items() if is_policy_file(name)}
    files: dict[str, SharedFile] = {}
    problems: list[str] = []
    for name in sorted(texts.keys() - policies.keys()):
        try:
            files[name] = parse_file(texts[name], name, policies)
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
    sent = _added(parts)
    problem = problem_of(merged(AgentConfig(), sent))
    if problem:
        raise ConfigError(f"agent {member.name}: {problem}")
    body = msgspec.msgpack.encode(sent)
    if len(body) > MAX_BODY:
        raise ConfigError(f"agent {member.name}: expected at most {MAX_BODY} packed bytes, got {len(body)}")
    return Edition(hashlib.sha256(body).hexdigest()[:16], body)


def _added(parts: Sequence[SharedFile]) -> SentConfig:
    """Later files come first where two name the same source, key of the registry or label."""
    whole = AgentConfig(syscheck=SyscheckConfig())
    policy = None
    for part in parts:
        names = {source.name for source in part.source} | {table.name for table in part.registry}
        sources = tuple(source for source in whole.source if source.name not in names)
        tables = tuple(table for table in whole.registry if table.name not in names)
        kept = msgspec.structs.replace(whole, source=sources, registry=tables)
        whole = merged(kept, msgspec.structs.replace(part, labels={}))
        whole = msgspec.structs.replace(whole, labels={**whole.labels, **part.labels})
        policy = added(policy, part.policy)
    syscheck = whole.syscheck if any(part.syscheck is not None for part in parts) else None
    rootcheck = whole.rootcheck if any(part.rootcheck is not None for part in parts) else None
    return SentConfig(
        exclude=whole.exclude,
        labels=whole.labels,
        source=whole.source,
        syscheck=syscheck,
        rootcheck=rootcheck,
        policy=policy,
        registry=whole.registry,
        policies=tuple(dict.fromkeys(policy for part in parts for policy in part.policies)),
    )


def _matches(patterns: Sequence[str], text: str) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)
