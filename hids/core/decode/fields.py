"""Fields of one event while they are taken out of its log."""

MAX_DYNAMIC = 256
"""Dynamic fields of one event: `analysisd.decoder_order_size` upstream."""


class Fields:
    """What regexes and plug-ins have found so far."""

    __slots__ = ("dynamic", "location", "relayed_rule", "static", "text", "type")

    def __init__(self) -> None:
        self.static: dict[str, bytes] = {}
        """Fields with a meaning of their own."""
        self.dynamic: dict[str, bytes] = {}
        self.type: str | None = None
        """Category that a plug-in gave the event, None for the decoder's."""
        self.relayed_rule: int | None = None
        """Id of the rule of an alert that another manager relayed."""
        self.location: bytes | None = None
        """Where such an alert's log was read ..."""
        self.text: bytes | None = None
        """... and the log."""

    def add(self, name: str, value: bytes, *, last_wins: bool = False) -> None:
        """Keep a dynamic field; the first of a name counts unless `last_wins`. Beyond `MAX_DYNAMIC` it is dropped."""
        if name in self.dynamic:
            if last_wins:
                self.dynamic[name] = value
        elif len(self.dynamic) < MAX_DYNAMIC:
            self.dynamic[name] = value
