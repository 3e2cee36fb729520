"""Where alerts go over the network: one struct for each kind of `[[output]]` in manager.toml.

A new kind is a struct here, a word in `AnyOutput`, and a destination in hids.adapters.outputs.kinds.
"""

import re
from typing import Annotated, Literal

import msgspec

Level = Annotated[int, msgspec.Meta(ge=0, le=16)]
Positive = Annotated[float, msgspec.Meta(gt=0)]

COMPLIANCE = ("pci_dss", "cis", "gdpr", "gpg13", "hipaa", "nist_800_53", "tsc", "mitre")
"""What a rule can say that it is for, as an alert's `rule` names it."""


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all kinds have: a name, and which alerts they want. An empty list wants all; all filters must agree."""

    name: str
    level: Level = 0
    """Lowest rule level that is sent."""
    groups: tuple[str, ...] = ()
    """Rules in any of these groups."""
    rules: tuple[int, ...] = ()
    """Any of these rules."""
    agents: tuple[str, ...] = ()
    """Any of these agents: ids or names; * and ? as in a shell."""
    locations: tuple[str, ...] = ()
    """Any of these texts occurs in "(agent) address->file"; ^ in front and $ at the end mean begin and end."""
    compliance: tuple[str, ...] = ()
    """Rules for any of these: "pci_dss", or "pci_dss:10.2" with all that is below it."""
    send: Literal["alerts", "incidents"] = "alerts"
    """"incidents": only what is new in one: its first alert, a higher level, another agent."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """Alerts in one delivery, at most."""
    timeout_s: Positive = 10.0
    """For a whole delivery; then it is tried again."""

    @property
    def type(self) -> str:
        """The kind, as manager.toml says it."""
        return str(self.__struct_config__.tag)

    @property
    def output(self) -> str:
        """The name of its cursor among all outputs'."""
        return f"{self.type}:{self.name}"

    @property
    def stem(self) -> str:
        """How its files' names begin."""
        return f"{self.type}-{self.name}"

    def problem(self) -> str | None:
        """What is wrong with it, beyond the types; None: nothing."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", self.name):
            return f'name: expected 1 to 32 of "a-z 0-9 _ -", got {self.name!r}'
        for wanted in self.compliance:
            if wanted.partition(":")[0] not in COMPLIANCE:
                return f'compliance: expected one of {", ".join(COMPLIANCE)}, or one with what is below it, such as "pci_dss:10.2", got {wanted!r}'
        return None


class Webhook(Output, frozen=True, kw_only=True, tag="webhook"):
    """JSON over HTTP."""

    name: str = "webhook"
    url: str
    secret_file: str = ""
    ca_file: str = ""

    def problem(self) -> str | None:
        """See `Output`."""
        if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", self.url):
            return f'url: expected "https://host/path" without a password, got {self.url!r}'
        return super().problem()


AnyOutput = Webhook
"""Every kind."""
