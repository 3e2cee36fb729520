"""Whether what a policy says holds of a host.

A rule that cannot be looked at makes its check not applicable, unless another rule has settled it: with `all` one that
fails, with `any` and `none` one that holds.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from hids.core.policy.content import Content
from hids.core.policy.host import Host, Unavailable
from hids.core.policy.policy import Check, Condition, Policy, Result
from hids.core.policy.rule import Rule, Unusable


class Verdict(msgspec.Struct, frozen=True):
    """What came of one check."""

    result: Result
    reason: str = ""
    """Why it is not applicable."""


def is_for(policy: Policy, host: Host) -> bool:
    """Whether the policy's requirements hold of this host."""
    required = policy.requirements
    return required is None or verdict_of(required.condition, required.rules, host).result == "passed"


def judge(check: Check, host: Host) -> Verdict:
    """Evaluate one check."""
    return verdict_of(check.condition, check.rules, host)


def verdict_of(condition: Condition, rules: Sequence[Rule | Unusable], host: Host) -> Verdict:
    """Evaluate rules up to the one that settles it."""
    settling = condition != "all"
    """What a rule must be to settle it: with `all` one that does not hold does, else one that does."""
    reason = ""
    for rule in rules:
        if isinstance(rule, Unusable):
            reason = reason or rule.problem
            continue
        try:
            if holds(rule, host) is settling:
                return Verdict("passed" if condition == "any" else "failed")
        except Unavailable as error:
            reason = reason or str(error)
    if reason:
        return Verdict("not applicable", reason)
    return Verdict("failed" if condition == "any" else "passed")


def holds(rule: Rule, host: Host) -> bool:
    """Evaluate one rule.

    Raises:
        Unavailable: it cannot be looked at.
    """
    match rule.kind:
        case "file":
            found = _any(rule, lambda path: _file(rule, path, host))
        case "directory":
            found = _any(rule, lambda path: _directory(rule, path, host))
        case "process":
            found = _process(rule, host)
        case "command":
            found = _lines_hold(rule.content, host.output(rule.targets[0]))
        case "registry":
            found = _registry(rule, host)
    return found != rule.negated


def _any(rule: Rule, look: Callable[[str], bool]) -> bool:
    """Whether it holds of one of several paths; that one cannot be looked at counts when it does not."""
    missing: Unavailable | None = None
    for path in rule.targets:
        try:
            if look(path):
                return True
        except Unavailable as error:
            missing = missing or error
    if missing is not None:
        raise missing
    return False


def _file(rule: Rule, path: str, host: Host) -> bool:
    if rule.content is None:
        return host.is_file(path)
    return _lines_hold(rule.content, host.lines(path))


def _directory(rule: Rule, path: str, host: Host) -> bool:
    if rule.name is None:
        return host.is_directory(path)
    missing: Unavailable | None = None
    for name, file in host.files_below(path):
        if not rule.name.holds(_encoded(name)):
            continue
        try:
            if rule.content is None or _lines_hold(rule.content, host.lines(file)):
                return True
        except Unavailable as error:
            missing = missing or error
    if missing is not None:
        raise missing
    return False


def _process(rule: Rule, host: Host) -> bool:
    wanted = rule.targets[0]
    running = host.processes()
    if rule.name is not None:
        return any(rule.name.holds(_encoded(name)) for name in running)
    return any(name == wanted or name.rpartition("/")[2] == wanted for name in running)


def _registry(rule: Rule, host: Host) -> bool:
    values = host.registry(rule.targets[0])
    if rule.name is None:
        return values is not None
    if values is None:
        if rule.content is None:
            return False
        raise Unavailable(f"no registry key {rule.targets[0]}")
    named = [data for name, data in values.items() if rule.name.holds(_encoded(name))]
    if rule.content is None:
        return bool(named)
    if not named:
        raise Unavailable(f"no such value in the registry key {rule.targets[0]}")
    return any(rule.content.holds(_encoded(data)) for data in named)


def _lines_hold(content: Content | None, lines: Iterable[bytes]) -> bool:
    if content is None:
        return True
    return any(content.holds(line) for line in lines)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
