"""A policy as data: requirements that say whether it is for this host, and checks."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from hids.core.policy.rule import Rule, Unusable

Condition = Literal["all", "any", "none"]

Result = Literal["passed", "failed", "not applicable"]


class Requirements(msgspec.Struct, frozen=True):
    """What must hold of a host for the policy to be of any meaning there."""

    title: str
    condition: Condition
    rules: tuple[Rule | Unusable, ...]


class Check(msgspec.Struct, frozen=True):
    """One setting that should be so. Texts are the author's, for people."""

    id: int
    title: str
    condition: Condition
    rules: tuple[Rule | Unusable, ...]
    description: str = ""
    rationale: str = ""
    impact: str = ""
    remediation: str = ""
    references: tuple[str, ...] = ()
    compliance: Mapping[str, tuple[str, ...]] = {}
    """Framework ("pci_dss_v4.0") -> its requirements that this check is about."""


class Policy(msgspec.Struct, frozen=True):
    """One file."""

    id: str
    file: str
    name: str
    description: str
    checks: tuple[Check, ...]
    references: tuple[str, ...] = ()
    requirements: Requirements | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Rules that cannot be evaluated, each with its check and the reason."""
        required = () if self.requirements is None else self.requirements.rules
        return tuple(
            f"{where}: {rule.problem}"
            for where, rules in (("requirements", required), *((f"check {c.id}", c.rules) for c in self.checks))
            for rule in rules
            if isinstance(rule, Unusable)
        )
