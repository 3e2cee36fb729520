"""An event: a line with its header, its decoder and, once somebody asks, its fields.

`select` picks the decoders, asking one yes/no question at a time; who answers decides whether each is looked
up or worked out. `Event` does the working out, lazily: most lines are done before their fields are needed.
"""

from collections.abc import Callable

import msgspec

from hids.core.decode.decoder import RETYPING, Decoder, DecoderTree, Selection
from hids.core.decode.extract import Extraction, end_of_prematch
from hids.core.decode.fields import Fields
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


class Event:
    """One line on its way through the rules."""

    __slots__ = (
        "_dynamic",
        "_extraction",
        "_fields",
        "_root_end",
        "dialect",
        "given",
        "header",
        "host",
        "line",
        "local_ms",
        "log_fw",
        "selection",
        "sender",
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
        self.sender: bytes | None = None
        """`(name) ip` of the agent that sent the line, None when the manager read it itself."""
        self.header = header
        self.dialect: Dialect = dialect
        self.host = host
        self.selection: Selection | None = None
        self._root_end = -1
        self._extraction: Extraction | None = None
        self._fields: dict[str, bytes] | None = None
        self._dynamic: dict[str, bytes] | None = None

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
        if self.sender is not None and self.dialect != "hids":
            return self.whole_location if self.dialect == "ossec" else self.host
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

    @property
    def whole_location(self) -> bytes:
        """The location as upstream's rules see it: an agent's with its sender."""
        location = self.line.location.encode("utf-8", "surrogateescape")
        return location if self.sender is None or self.dialect == "hids" else self.sender + b"->" + location

    # ---- decoder -----------------------------------------------------------------------------------------

    @property
    def decoder(self) -> Decoder | None:
        """The decoder that rules and alerts see; None for an undecoded event."""
        if self.selection is None:
            return None
        if self.selection.settled:
            return self.selection.current
        extraction = self._extracted()
        return None if extraction is None else extraction.current

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
        if self.selection is None:
            return "syslog"
        if self.selection.settled:
            return self.selection.current.type
        extraction = self._extracted()
        return "syslog" if extraction is None else extraction.type

    @property
    def fields(self) -> dict[str, bytes]:
        """All fields that were cut out, static and dynamic, and given ones that are lacking."""
        if self._fields is None:
            extraction = self._extracted()
            taken: dict[str, bytes] = {} if extraction is None else extraction.all()
            lacking = {name: value for name, value in self.given.items() if not taken.get(name)}
            self._fields = taken | lacking if lacking else taken
        return self._fields

    @property
    def dynamic(self) -> dict[str, bytes]:
        """What `<field name="...">` sees; in OSSEC's and Wazuh's dialects names are in lower case."""
        if self._dynamic is None:
            extraction = self._extracted()
            self._dynamic = {} if extraction is None else extraction.dynamic()
        return self._dynamic

    @property
    def relayed_rule(self) -> int | None:
        """Id of the rule that another manager gave this alert."""
        extraction = self._extracted()
        return None if extraction is None else extraction.fields.relayed_rule

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
        if self.selection is None or not self.selection.accumulates:
            return False
        decoder = self.decoder
        return decoder is not None and decoder.accumulate

    def end_of_root(self, root: Decoder) -> int:
        """Where the text behind the top-level decoder's prematch starts."""
        if self._root_end < 0:
            self._root_end = end_of_prematch(root, self.log, 0)
        return self._root_end

    def _extracted(self) -> Extraction | None:
        """Run the chain, once. None for an undecoded event."""
        if self._extraction is None and self.selection is not None:
            rewrites = self.dialect == "ossec" and self.log_fw
            done = Extraction(self.log, self.dialect, self.selection, self.end_of_root, rewrites=rewrites)
            done.run()
            self._extraction = done
            self._relay(done.fields)
        return self._extraction

    def _relay(self, fields: Fields) -> None:
        """A relayed alert shows the log that it is about, and where that came from."""
        if fields.text is not None and fields.location is not None:
            self.header = msgspec.structs.replace(self.header, log=fields.text, full_log=fields.text)
            place = self.line.location + "|" + fields.location.decode("utf-8", "surrogateescape")
            self.line = msgspec.structs.replace(self.line, location=place)


def decode(tree: DecoderTree, event: Event) -> None:
    """Choose the event's decoders by asking everything of the event itself."""
    event.selection = select(tree.roots(event.program), lambda test: test.holds(event))
