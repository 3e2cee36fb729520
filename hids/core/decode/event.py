"""An event: a line with where it came from, its header, and what the decoders make of its log (`Reading`).

`select` picks the decoders, asking one yes/no question at a time; who answers decides whether each is looked
up or worked out.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from hids.core.decode.decoder import RELAY, RETYPING, Decoder, DecoderTree, Selection
from hids.core.decode.header import Header, header_reader
from hids.core.decode.reading import Reading
from hids.core.decode.told import in_upstream_words
from hids.core.dialect import Dialect
from hids.messages.lines import LogLine


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

FTS_MAX = 256
"""Bytes of a key for `<if_fts>`, as upstream cuts it."""


def _selection(root: Decoder, current: Decoder, chain: tuple[Decoder, ...]) -> Selection:
    others = [member for member in chain if member.takes_over]
    settled = all(member.identity == current.identity for member in others)
    retyped = any(member.plugin in RETYPING for member in chain)
    return Selection(
        root,
        current,
        chain,
        settled and not retyped,
        frozenset(name for member in chain for name in member.order),
        any(member.accumulate for member in (current, *others)),
    )


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


class Origin(NamedTuple):
    """Where lines come from; one for all lines of a batch."""

    host: bytes | None = None
    """Stands in where the header names none."""
    sender: bytes | None = None
    """`(name) ip` of the agent, None when the manager read the lines itself."""
    wall: Callable[[LogLine], int] = lambda line: line.at_ms
    """When a line came, by the clock on the manager's wall: milliseconds since the epoch as if that were UTC."""


NOWHERE = Origin()

Read = Callable[[LogLine, Origin], tuple[LogLine, Header]]
"""Takes a line apart; the line may get another location with that."""


def line_reader(dialect: Dialect, *, blind: bool = False) -> Read:
    """Reads headers; what the manager tells of files and agents is put into the dialect's words first.

    `blind` is as for `read_header`.
    """
    read = header_reader(dialect, blind=blind)

    def read_line(line: LogLine, origin: Origin) -> tuple[LogLine, Header]:
        if line.kind != "log":
            told = in_upstream_words(line, dialect, origin.host, origin.sender)
            if told is not None:
                return told
        return line, read(line)

    return read_line


class Event(msgspec.Struct, eq=False):
    """One line on its way through the rules."""

    line: LogLine
    header: Header
    reading: Reading
    """Of the header's log, unless that is a relayed alert."""
    origin: Origin = NOWHERE
    given: dict[str, bytes] | None = None
    """Fields that do not come from this line, but count where it has none."""

    @property
    def dialect(self) -> Dialect:
        """Of the ruleset."""
        return self.reading.dialect

    @property
    def local_ms(self) -> int:
        """When the line came, as `Origin.wall` tells it."""
        return self.origin.wall(self.line)

    # ---- header ------------------------------------------------------------------------------------------

    @property
    def program(self) -> bytes | None:
        """Program name; may be empty."""
        return self.header.program

    @property
    def hostname(self) -> bytes | None:
        """Host that the header names, else the one that was given.

        For an agent's line OSSEC has the whole location instead, Wazuh the agent's name.
        """
        if self.origin.sender is not None and self.dialect != "hids":
            return self.whole_location if self.dialect == "ossec" else self.origin.host
        return self.header.hostname if self.header.hostname is not None else self.origin.host

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

    @property
    def whole_location(self) -> bytes:
        """The location as upstream's rules see it: an agent's with its sender."""
        location = self.line.location.encode("utf-8", "surrogateescape")
        sender = self.origin.sender
        return location if sender is None or self.dialect == "hids" else sender + b"->" + location

    # ---- decoder -----------------------------------------------------------------------------------------

    @property
    def decoder(self) -> Decoder | None:
        """The decoder that rules and alerts see; None for an undecoded event."""
        return self.reading.decoder

    @property
    def decoder_name(self) -> str | None:
        """Its name in alerts."""
        decoder = self.reading.decoder
        return None if decoder is None else decoder.name

    @property
    def decoder_parent(self) -> str | None:
        """Its parent's name; None for a top-level decoder."""
        decoder = self.reading.decoder
        return None if decoder is None else decoder.parent

    @property
    def decoder_type(self) -> str:
        """Category of the event; undecoded ones are syslog."""
        return self.reading.decoder_type

    @property
    def fields(self) -> dict[str, bytes]:
        """All fields that were cut out, static and dynamic, and given ones that are lacking."""
        taken = self.reading.fields
        if self.given is None:
            return taken
        return taken | {name: value for name, value in self.given.items() if not taken.get(name)}

    @property
    def dynamic(self) -> dict[str, bytes]:
        """What `<field name="...">` sees; in OSSEC's and Wazuh's dialects names are in lower case."""
        return self.reading.dynamic

    @property
    def relayed_rule(self) -> int | None:
        """Id of the rule that another manager gave this alert."""
        selection = self.reading.selection
        if selection is None or not relays(selection):
            return None
        return self.reading.extraction(selection).fields.relayed_rule

    @property
    def fts_key(self) -> bytes | None:
        """What must be new for `<if_fts>`: the decoder's name and the parts it names; None without `<fts>`."""
        decoder = self.decoder
        if decoder is None or not decoder.fts:
            return None
        fields = self.fields
        parts = [self.whole_location if part == "location" else fields.get(part, b"") for part in decoder.fts]
        return b" ".join([decoder.name.encode(), *parts])[:FTS_MAX]

    @property
    def fts_is_ids(self) -> bool:
        """Keys of type ids that resemble each other are one."""
        return self.decoder_type == "ids"

    @property
    def accumulate(self) -> bool:
        """The decoder's events lend each other fields."""
        selection = self.reading.selection
        if selection is None or not selection.accumulates:
            return False
        decoder = self.decoder
        return decoder is not None and decoder.accumulate

    def end_of_root(self, root: Decoder) -> int:
        """Where the text behind the top-level decoder's prematch starts."""
        return self.reading.end_of_root(root)

    def select(self, selection: Selection | None) -> None:
        """Take these decoders. A relayed alert then shows the log that it is about, and where that came from."""
        self.reading.selection = selection
        if selection is None or not relays(selection):
            return
        fields = self.reading.extraction(selection).fields
        if fields.text is not None and fields.location is not None:
            self.header = msgspec.structs.replace(self.header, log=fields.text, full_log=fields.text)
            place = self.line.location + "|" + fields.location.decode("utf-8", "surrogateescape")
            self.line = msgspec.structs.replace(self.line, location=place)


def relays(selection: Selection) -> bool:
    """The event may be an alert of another manager."""
    return any(member.plugin == RELAY for member in selection.chain)


def undecoded(
    line: LogLine, dialect: Dialect, origin: Origin = NOWHERE, *, log_fw: bool = True, blind: bool = False
) -> Event:
    """An event of which only the header was read. `blind` is as for `read_header`, `log_fw` is `Ruleset.log_fw`."""
    line, header = line_reader(dialect, blind=blind)(line, origin)
    return Event(line, header, Reading(header.log, dialect, log_fw and dialect == "ossec", line.facts), origin)


def decode(tree: DecoderTree, event: Event) -> None:
    """Choose the event's decoders by asking everything of the event itself."""
    event.select(select(tree.roots(event.program), lambda test: test.holds(event)))
