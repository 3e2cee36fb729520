"""What the decoders make of a log, whoever sent it and whenever: decoder, fields, kind.

All of it follows from the log and the decoders chosen for it, so lines that say the same share one. It is worked
out when somebody asks: most lines are done before their fields are needed.
"""

import msgspec

from hids.core.decode.decoder import Decoder, Selection
from hids.core.decode.extract import Extraction, end_of_prematch
from hids.core.dialect import Dialect


class Reading(msgspec.Struct, eq=False):
    """One log with the decoders chosen for it."""

    log: bytes
    dialect: Dialect
    rewrites: bool
    """OSSEC rewrites the action of a firewall's events (`analysisd.log_fw`)."""
    facts: bytes = b""
    """What the manager knows of the line besides its log; a log with facts is one of a kind."""
    selection: Selection | None = None
    members: bytes | None = None
    """Decoder and fields as members of an alert, once they were written (hids.core.rules.render)."""
    _root_end: int = -1
    _extraction: Extraction | None = None
    _all: dict[str, bytes] | None = None
    _dynamic: dict[str, bytes] | None = None

    @property
    def decoder(self) -> Decoder | None:
        """The decoder that rules and alerts see; None for an undecoded log."""
        selection = self.selection
        if selection is None:
            return None
        return selection.current if selection.settled else self.extraction(selection).current

    @property
    def decoder_type(self) -> str:
        """Category of the log; undecoded ones are syslog."""
        selection = self.selection
        if selection is None:
            return "syslog"
        return selection.current.type if selection.settled else self.extraction(selection).type

    @property
    def fields(self) -> dict[str, bytes]:
        """All fields that were cut out, static and dynamic."""
        found = self._all
        if found is None:
            selection = self.selection
            found = self._all = {} if selection is None else self.extraction(selection).all()
        return found

    @property
    def dynamic(self) -> dict[str, bytes]:
        """What `<field name="...">` sees; in OSSEC's and Wazuh's dialects names are in lower case."""
        found = self._dynamic
        if found is None:
            selection = self.selection
            found = self._dynamic = {} if selection is None else self.extraction(selection).dynamic()
        return found

    def extraction(self, selection: Selection) -> Extraction:
        """The run of the chain, once. `selection` is this log's."""
        done = self._extraction
        if done is None:
            done = Extraction(self.log, self.dialect, selection, rewrites=self.rewrites, facts=self.facts)
            done.run(self.end_of_root)
            self._extraction = done
        return done

    def end_of_root(self, root: Decoder) -> int:
        """Where the text behind the top-level decoder's prematch starts."""
        if self._root_end < 0:
            self._root_end = end_of_prematch(root, self.log, 0)
        return self._root_end
