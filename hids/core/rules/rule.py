"""Rules as data, and the ruleset that holds them."""

import msgspec

from hids.core.decode.decoder import SCA, DecoderTree
from hids.core.decode.told import FILE_DECODERS, HOST_DECODERS
from hids.core.dialect import Dialect, Refused
from hids.core.rules.composite import Window
from hids.core.rules.conditions import Condition, DecodedAs
from hids.core.rules.describe import Template
from hids.messages.terms import Correlation


class SourceFile(msgspec.Struct, frozen=True):
    """A rule or decoder file, already read."""

    path: str
    text: bytes


class Rule(msgspec.Struct, frozen=True, eq=False):
    """One rule. `index` is its place in load order and its name in tables and residuals."""

    index: int
    id: int
    level: int
    rank: int
    """Siblings are tried from the highest rank down, equal ones in load order."""
    description: str
    template: Template | None
    """The description when it names fields of the event."""
    conditions: tuple[Condition, ...]
    """In the order of the language; all must hold."""
    asks: tuple[int, ...]
    """Questions that only the lane can answer, in the order of the language (`messages.ResidualNode`)."""
    late: tuple[Condition, ...]
    """Conditions behind the questions that have an effect even when these do not hold; empty without such questions."""
    group_text: bytes
    """File group and own groups, glued as written."""
    groups: tuple[str, ...]
    window: Window | None
    ignore_s: int
    ignore_fields: tuple[str, ...]
    """Words of `<ignore>`."""
    check_ignored: tuple[str, ...]
    """Words of `<check_if_ignored>`."""
    noalert: bool
    """Has no result of its own: the search goes on when no child matches."""
    mail: bool
    log: int
    """1: always written (log_alert), -1: counts but makes no alert (no_log), 0: as its level says."""
    full_log: bool
    """False (no_full_log): alerts go without the line."""
    counted: bool
    """False (no_counter): alerts do not tell how often it fired."""
    responds: bool
    """False (no_ar, accuracy 0): no reason for an active response."""
    mitre: tuple[str, ...]
    info: str
    cve: str
    category: str
    """Decoder type whose events it is for; counts only for top-level rules."""


class Ruleset(msgspec.Struct, frozen=True, eq=False):
    """Decoders and rules of one folder, ready to be walked or compiled."""

    name: str
    dialect: Dialect
    hash: str
    """Names the content: dialect, name and all files."""
    correlation: Correlation
    log_fw: bool
    """Events of firewalls are made ready for the firewall log."""
    decoders: DecoderTree
    rules: tuple[Rule, ...]
    """In load order."""
    top: tuple[Rule, ...]
    """Rules that are tried first, in the order in which they are tried."""
    children: tuple[tuple[Rule, ...], ...]
    """For each rule, by index, those below it, in the order in which they are tried."""
    feeds: tuple[tuple[int, ...], ...]
    """For each rule, by index, the composites whose windows its events enter."""
    sid_lists: tuple[tuple[int, ...], ...]
    """For each rule, the composites that count it by its id."""
    group_marks: tuple[tuple[tuple[int, int], ...], ...]
    """For each rule, (composite that counts its group, times)."""
    refused: tuple[Refused, ...]
    by_id: dict[int, int]
    """Id -> index."""

    @property
    def tells(self) -> frozenset[str]:
        """What OSSEC's or Wazuh's own rules in it are about: "files" that came, changed and went, "hosts", "policies"."""
        if self.dialect == "hids":
            return frozenset()
        asked = {c.name for rule in self.rules for c in rule.conditions if isinstance(c, DecodedAs)}
        subjects = {"files": FILE_DECODERS, "hosts": HOST_DECODERS, "policies": frozenset((SCA,))}
        return frozenset(subject for subject, decoders in subjects.items() if asked.issuperset(decoders))
