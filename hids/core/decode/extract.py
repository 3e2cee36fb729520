"""What the decoders chosen take out of a log: fields, and with them the decoder that the event ends up with."""

from collections.abc import Callable

from hids.core.decode.decoder import (
    JSON,
    SCA,
    STATIC_FIELDS,
    SYSCHECK,
    WINDOWS_EVENT,
    Decoder,
    Offset,
    Selection,
    static_fields,
)
from hids.core.decode.fields import Fields
from hids.core.decode.json_fields import take_json
from hids.core.decode.plugins import PLUGINS
from hids.core.decode.policy_said import take_said
from hids.core.decode.told import take_change
from hids.core.decode.windows_event import take_event
from hids.core.dialect import Dialect

Behind = Callable[[Decoder], int]
"""Tells where the text behind the top-level decoder's match starts."""


class Extraction:
    """The run of one chain over one log."""

    __slots__ = (
        "_dialect",
        "_facts",
        "_log",
        "_regex_start",
        "_rewrites",
        "_selection",
        "_slots",
        "current",
        "fields",
    )

    def __init__(
        self,
        log: bytes,
        dialect: Dialect,
        selection: Selection,
        *,
        rewrites: bool,
        facts: bytes = b"",
    ) -> None:
        """`rewrites`: a firewall's action gets OSSEC's word. `facts`: of the line, `LogLine.facts`."""
        self._log = log
        self._dialect: Dialect = dialect
        self._selection = selection
        self._rewrites = rewrites
        self._facts = facts
        self.current = selection.current
        self.fields = Fields()
        self._slots: dict[int, bytes] = {}
        """OSSEC keeps a dynamic field under its place in the order list that gave it."""
        self._regex_start = -1
        """Behind the last regex that matched; -1: behind the prematch."""

    def run(self, behind: Behind) -> None:
        """Go along the chain."""
        for member in self._selection.chain:
            if member.plugin is not None:
                self._plugin(member.plugin, behind)
                if self._dialect == "ossec":
                    break
            elif member.regex is not None:
                self._regex(member, behind)
            else:
                break
        static = self.fields.static
        if self._rewrites and self.type == "firewall" and "action" in static:
            static["action"] = _FIREWALL_ACTIONS.get(static["action"][:1].lower(), b"UNKNOWN")

    @property
    def type(self) -> str:
        """Category of the rules that see the event."""
        return self.fields.type if self.fields.type is not None else self.current.type

    def _regex(self, member: Decoder, behind: Behind) -> None:
        if member.regex is None:
            return
        start = 0 if member.regex_offset == "start" else self._start(member.regex_offset, behind)
        match = member.regex.search(self._log[start:])
        if match is None:
            if self._dialect == "ossec":
                self._regex_start = -1
            return
        self._regex_start = start + match.end
        if member.takes_over:
            self.current = member
        self._store(member, self._in_place(match.captures))

    def _in_place(self, captures: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
        """Wazuh gives a group that is not set the empty text, unless none is set behind it."""
        if self._dialect != "wazuh" or None not in captures:
            return captures
        last = max((i for i, capture in enumerate(captures) if capture is not None), default=-1)
        return tuple(capture or b"" for capture in captures[: last + 1])

    def _start(self, offset: Offset, behind: Behind) -> int:
        """Where a search begins. Worked out when somebody asks, as most patterns begin at the log's start."""
        if offset == "regex" and self._regex_start >= 0:
            return self._regex_start
        root, current = self._selection.root, self._selection.current
        if offset == "parent" or current is root:
            return behind(root)
        return end_of_prematch(current, self._log, behind(root) if current.prematch_offset == "parent" else 0)

    def _store(self, member: Decoder, captures: tuple[bytes | None, ...]) -> None:
        static = self.fields.static
        if member.static:
            for name, value in zip(member.order, captures, strict=False):
                if value is not None:
                    static[name] = value
            return
        names = static_fields(self._dialect)
        for slot, (name, value) in enumerate(zip(member.order, captures, strict=False)):
            if value is None:
                continue
            if name in names:
                static[name] = value
            else:
                self.fields.add(name, value, last_wins=self._dialect == "ossec")
                self._slots[slot] = value

    def _plugin(self, name: str, behind: Behind) -> None:
        if name == JSON:
            # Offset and options are the event's decoder's, whoever has the plug-in.
            offset = self.current.plugin_offset
            text = self._log if offset == "start" else self._log[self._start(offset, behind) :]
            take_json(text, self.fields, null=self.current.json_null, csv=self.current.json_csv)
        elif name == WINDOWS_EVENT:
            take_event(self._log, self.fields)
        elif name == SCA:
            take_said(self._log, self.fields)
        elif name == SYSCHECK:
            take_change(self._facts, self.fields)
        else:
            PLUGINS[name](self._log, self.fields, self._dialect)

    # ---- what came of it ---------------------------------------------------------------------------------

    def dynamic(self) -> dict[str, bytes]:
        """The fields by the names that `<field>` may use.

        OSSEC looks a name up in the order list of the last decoder only, so of a chain it finds the last
        member's. Both upstreams ignore the case of names, so theirs are given in lower case.
        """
        if self._dialect == "hids":
            return self.all()
        if self._dialect == "wazuh":
            found: dict[str, bytes] = {}
            for name, value in self.fields.dynamic.items():
                found.setdefault(name.lower(), value)
            return found
        return {
            name.lower(): self._slots[slot]
            for slot, name in enumerate(self.current.order)
            if slot in self._slots and name not in STATIC_FIELDS
        }

    def all(self) -> dict[str, bytes]:
        """Every field; a static one hides a dynamic one of its name."""
        return {**self.fields.dynamic, **self.fields.static} if self.fields.dynamic else self.fields.static


def end_of_prematch(decoder: Decoder, log: bytes, start: int) -> int:
    """Offset behind the decoder's prematch; where it has none or it does not match, `start`."""
    if decoder.prematch is None:
        return start
    match = decoder.prematch.search(log[start:])
    return start if match is None else start + match.end


_FIREWALL_ACTIONS = {
    **dict.fromkeys((b"d", b"r", b"b"), b"DROP"),
    **dict.fromkeys((b"c", b"t"), b"CLOSED"),
    **dict.fromkeys((b"a", b"p", b"o"), b"ALLOW"),
}
"""OSSEC's one word for what a firewall did, by the first letter of the firewall's word."""
