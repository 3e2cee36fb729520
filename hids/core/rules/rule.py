"""Rules as data, and the ruleset that holds them."""

from typing import NamedTuple

import msgspec

from hids.core.decode.decoder import DecoderTree
from hids.core.dialect import Dialect
from hids.core.rules.conditions import Condition


class SourceFile(msgspec.Struct, frozen=True):
    """A rule or decoder file, already read."""

    path: str
    text: bytes


class Window(NamedTuple):
    """What makes a rule a composite: it fires when enough events came before, within a time."""

    sid: int | None
    """Counts events of this rule ..."""
    group: str | None
    """... or of every rule of this group."""
    frequency: int | None
    """As written; None when left out."""
    needed: int
    """Past events within the timeframe, beside the one that fires."""
    timeframe_s: int
    key: tuple[str, ...]
    """Slots that must be there and equal, sorted."""


class Rule(msgspec.Struct, frozen=True, eq=False):
    """One rule. `index` is its place in load order and its name in tables and residuals."""

    index: int
    id: int
    level: int
    description: str
    conditions: tuple[Condition, ...]
    """In the order of the language; all must hold."""
    group_text: bytes
    """File group and own groups, glued as written."""
    groups: tuple[str, ...]
    window: Window | None
    ignore_s: int
    noalert: bool
    """Has no result of its own: the search goes on when no child matches."""
    mail: bool
    log: int
    """1: always written (log_alert), -1: counts but makes no alert (no_log), 0: as its level says."""
    mitre: tuple[str, ...]
    category: str
    """Decoder type whose events it is for; counts only for OSSEC's top-level rules."""

    @property
    def rank(self) -> int:
        """Siblings are tried from the highest rank down, equal ones in load order."""
        return 9900 if self.level == 0 else 100 * self.level


class Ruleset(msgspec.Struct, frozen=True, eq=False):
    """Decoders and rules of one folder, ready to be walked or compiled."""

    name: str
    dialect: Dialect
    hash: str
    """Names the content: dialect, name and all files."""
    decoders: DecoderTree
    rules: tuple[Rule, ...]
    """In load order."""
    top: tuple[Rule, ...]
    """Rules that are tried first, in the order in which they are tried."""
    children: tuple[tuple[Rule, ...], ...]
    """For each rule, by index, those below it, in the order in which they are tried."""
    feeds: tuple[tuple[int, ...], ...]
    """For each rule, by index, the composites whose windows its events enter."""
