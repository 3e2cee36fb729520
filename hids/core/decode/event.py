"""An event: a line with its header, its decoder and, once somebody asks, its fields.

`select` picks the decoders, asking one yes/no question at a time; who answers decides whether each is looked
up or worked out. `Event` does the working out, lazily: most lines are done before their fields are needed.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from hids.core.decode.decoder import STATIC_FIELDS, Decoder, DecoderTree, Offset
from hids.core.decode.header import Header
from hids.core.dialect import Dialect
from hids.messages import LogLine


class ProgramIs(msgspec.Struct, frozen=True):
    """Does the decoder's `<program_name>` match?"""

    decoder: Decoder

    def holds(self, event: "Event") -> bool:
        """Ask the header."""
        pattern, program = self.decoder.program, event.program
        return pattern is None or (program is not None and bool(pattern.matches(program)))


class Prematch(msgspec.Struct, frozen=True):
    """Does the decoder's `<prematch>` match?"""

    decoder: Decoder
    root: Decoder

    def holds(self, event: "Event") -> bool:
        """Ask the log, or what follows the parent's match."""
        pattern = self.decoder.prematch
        start = event.end_of_root(self.root) if self.decoder.prematch_offset == "parent" else 0
        return pattern is None or bool(pattern.matches(event.log[start:] if start else event.log))


DecoderTest = ProgramIs | Prematch


class Selection(NamedTuple):
    """Which decoders an event goes through."""

    root: Decoder
    current: Decoder
    """The event's decoder, unless a regex of the chain replaces it."""
    chain: tuple[Decoder, ...]
    """Whose regexes run, in this order."""

    settled: bool
    """Running the chain cannot change what rules and alerts see of the decoder."""
    fields: frozenset[str]
    """Every field that the event can have."""


def _selection(root: Decoder, current: Decoder, chain: tuple[Decoder, ...]) -> Selection:
    settled = all(member.identity == current.identity for member in chain)
    return Selection(root, current, chain, settled, frozenset(name for member in chain for name in member.order))


def select(roots: tuple[Decoder, ...], ask: Callable[[DecoderTest], bool]) -> Selection | None:
    """Choose the decoders of an event; None when no top-level decoder takes it."""
    for root in roots:
        if (root.program is None or ask(ProgramIs(root))) and (root.prematch is None or ask(Prematch(root, root))):
            return _below(root, ask)
    return None


def _below(root: Decoder, ask: Callable[[DecoderTest], bool]) -> Selection:
    if not root.children:
        return _selection(root, root, (root,))
    position = 0
    while position < len(root.children):
        child = root.children[position]
        chain = _chain(root.children, position)
        if child.prematch is None:
            return _selection(root, root, chain)
        if ask(Prematch(child, root)):
            return _selection(root, child, chain)
        position += len(chain)
    return _selection(root, root, ())


def _chain(siblings: tuple[Decoder, ...], start: int) -> tuple[Decoder, ...]:
    """A chain goes on to the next sibling, whatever its name, up to the first that is not chained."""
    end = start
    while siblings[end].chained:
        end += 1
    return siblings[start : end + 1]


class Event:
    """One line on its way through the rules."""

    __slots__ = (
        "_decoder",
        "_dynamic",
        "_fields",
        "_root_end",
        "dialect",
        "given",
        "header",
        "host",
        "line",
        "local_ms",
        "log_fw",
        "relayed_rule",
        "selection",
    )

    def __init__(
        self,
        line: LogLine,
        header: Header,
        dialect: Dialect,
        host: bytes | None = None,
        local_ms: int | None = None,
    ) -> None:
        """`host` stands in where the header names none."""
        self.line = line
        self.local_ms = line.at_ms if local_ms is None else local_ms
        """When it came, by the clock on the manager's wall: milliseconds since the epoch as if that were UTC."""
        self.given: dict[str, bytes] = {}
        """Fields that do not come from this line, but count where it has none."""
        self.log_fw = True
        """OSSEC rewrites the action of a firewall's events (`analysisd.log_fw`)."""
        self.relayed_rule: int | None = None
        """Id of the rule that another manager gave this alert."""
        self.header = header
        self.dialect: Dialect = dialect
        self.host = host
        self.selection: Selection | None = None
        self._root_end = -1
        self._decoder: Decoder | None = None
        self._fields: dict[str, bytes] | None = None
        self._dynamic: dict[str, bytes] = {}

    # ---- header ------------------------------------------------------------------------------------------

    @property
    def program(self) -> bytes | None:
        """Program name; may be empty."""
        return self.header.program

    @property
    def hostname(self) -> bytes | None:
        """Host that the header names, else the one that was given."""
        return self.header.hostname if self.header.hostname is not None else self.host

    @property
    def timestamp(self) -> bytes | None:
        """The header's date as written."""
        return self.header.timestamp

    @property
    def log(self) -> bytes:
        """The text that decoders and rules see."""
        return self.header.log

    @property
    def full_log(self) -> bytes:
        """The text that alerts show."""
        return self.header.full_log

    @property
    def location(self) -> str:
        """Where the line was read."""
        return self.line.location

    # ---- decoder -----------------------------------------------------------------------------------------

    @property
    def decoder(self) -> Decoder | None:
        """The decoder that rules and alerts see; None for an undecoded event."""
        if self.selection is None or self.selection.settled:
            return None if self.selection is None else self.selection.current
        self._extract()
        return self._decoder

    @property
    def decoder_name(self) -> str | None:
        """Its name in alerts."""
        decoder = self.decoder
        return None if decoder is None else decoder.name

    @property
    def decoder_parent(self) -> str | None:
        """Its parent's name; None for a top-level decoder."""
        decoder = self.decoder
        return None if decoder is None else decoder.parent

    @property
    def decoder_type(self) -> str:
        """Category of the event; undecoded ones are syslog."""
        decoder = self.decoder
        return "syslog" if decoder is None else decoder.type

    @property
    def fields(self) -> dict[str, bytes]:
        """All fields that were cut out, static and dynamic."""
        if self._fields is None:
            self._extract()
        return self._fields or {}

    @property
    def dynamic(self) -> dict[str, bytes]:
        """What `<field name="...">` sees; in OSSEC's dialect names are in lower case."""
        return self._dynamic if self.fields else {}

    @property
    def fts_key(self) -> bytes | None:
        """What must be new for `<if_fts>`; None when the decoder has no `<fts>`."""
        return None

    @property
    def fts_is_ids(self) -> bool:
        """Keys of type ids that resemble each other are one."""
        return False

    @property
    def accumulate(self) -> bool:
        """The decoder's events lend each other fields."""
        decoder = self.decoder
        return decoder is not None and decoder.accumulate

    def lend(self, fields: dict[str, bytes]) -> None:
        """Give the event fields that count where it has none of its own."""
        self.given = fields
        self._fields = None

    def end_of_root(self, root: Decoder) -> int:
        """Where the text behind the top-level decoder's prematch starts."""
        if self._root_end < 0:
            self._root_end = _end(root, self.log, 0)
        return self._root_end

    def _extract(self) -> None:
        """Run the chain, once."""
        if self._fields is not None:
            return
        self._fields = {}
        if self.selection is None:
            return
        taken = _Taken(self, self.selection)
        taken.run()
        self._decoder = taken.current
        lacking = {name: value for name, value in self.given.items() if not taken.fields.get(name)}
        self._fields = taken.fields | lacking
        self._dynamic = taken.dynamic()


class _Taken:
    """What the regexes of a chain take out of a log."""

    def __init__(self, event: Event, selection: Selection) -> None:
        self._log = event.log
        self._ossec = event.dialect == "ossec"
        self._rewrites = self._ossec and event.log_fw
        self._selection = selection
        self._parent_end = event.end_of_root(selection.root)
        self.current = selection.current
        self.fields: dict[str, bytes] = {}
        self._slots: dict[int, bytes] = {}
        """OSSEC keeps a dynamic field under its place in the order list that gave it."""

    def run(self) -> None:
        root, current, chain = self._selection[:3]
        first = self._parent_end
        if current is not root and current.prematch is not None:
            first = _end(current, self._log, self._parent_end if current.prematch_offset == "parent" else 0)
        starts: dict[Offset, int] = {
            "start": 0,
            "parent": self._parent_end,
            "prematch": first,
            "regex": first,
        }
        for member in chain:
            if member.regex is None:
                break
            start = starts[member.regex_offset]
            match = member.regex.search(self._log[start:])
            if match is not None:
                starts["regex"] = start + match.end
                self.current = member
                self._store(member.order, match.captures)
            elif self._ossec:
                starts["regex"] = first
        if self._rewrites and self.current.type == "firewall" and "action" in self.fields:
            self.fields["action"] = _firewall_action(self.fields["action"])

    def _store(self, order: tuple[str, ...], captures: tuple[bytes | None, ...]) -> None:
        for slot, (name, value) in enumerate(zip(order, captures, strict=False)):
            if value is None:
                continue
            if name in STATIC_FIELDS or self._ossec:
                self.fields[name] = value
            else:
                self.fields.setdefault(name, value)
            if name not in STATIC_FIELDS:
                self._slots[slot] = value

    def dynamic(self) -> dict[str, bytes]:
        """The fields by the names that `<field>` may use.

        OSSEC looks a name up in the order list of the last decoder only, so of a chain it finds the last
        member's.
        """
        if not self._ossec:
            return self.fields
        return {
            name.lower(): self._slots[slot]
            for slot, name in enumerate(self.current.order)
            if slot in self._slots and name not in STATIC_FIELDS
        }


_FIREWALL_ACTIONS = {
    **dict.fromkeys((b"d", b"r", b"b"), b"DROP"),
    **dict.fromkeys((b"c", b"t"), b"CLOSED"),
    **dict.fromkeys((b"a", b"p", b"o"), b"ALLOW"),
}


def _firewall_action(action: bytes) -> bytes:
    """OSSEC's one word for what a firewall did, by the first letter of the firewall's word."""
    return _FIREWALL_ACTIONS.get(action[:1].lower(), b"UNKNOWN")


def _end(decoder: Decoder, log: bytes, start: int) -> int:
    """Offset behind the decoder's prematch; where it has none or it does not match, `start`."""
    if decoder.prematch is None:
        return start
    match = decoder.prematch.search(log[start:])
    return start if match is None else start + match.end


def decode(tree: DecoderTree, event: Event) -> None:
    """Choose the event's decoders by asking everything of the event itself."""
    event.selection = select(tree.roots(event.program), lambda test: test.holds(event))
