"""`<accumulate>`: events of one transaction lend each other the fields that they lack (rule language 3.5).

An LDAP server, say, names the client when a connection opens and the user when he logs in. Events with equal host,
decoder and id within two minutes of each other belong together.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hids.core.correlate.cells import Cells
from hids.core.correlate.occurrence import short
from hids.core.decode.event import Event

LENT: Final = ("dstuser", "srcuser", "dstip", "srcip", "dstport", "srcport", "data", "extra_data")
"""Fields that are lent. OSSEC's `data` is our `extra_data`."""
_LENT_WAZUH: Final = LENT[:-1]
FIELD_MAX: Final = 80
"""Bytes of a field that are kept."""
LIFE_S: Final = 120
"""Seconds that an entry lives after it was last used."""

Fields = dict[str, bytes]


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    at_s: int
    fields: Fields


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Entry)


def own_fields(fields: Mapping[str, bytes], dialect: str) -> Fields:
    """Of an event's fields those that it may lend."""
    names = _LENT_WAZUH if dialect == "wazuh" else LENT
    return {name: value[:FIELD_MAX] for name in names if (value := fields.get(name))}


def transaction(event: Event) -> bytes | None:
    """Names the transaction of an event; None when its decoder does not accumulate or the event has no id."""
    if not event.accumulate or not event.fields.get("id"):
        return None
    return b" ".join((event.hostname or b"", (event.decoder_name or "").encode(), event.fields["id"]))


class Accumulator:
    """What the last events of each transaction said."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def lend(self, ruleset: str, key: bytes, fields: Fields, at_ms: int) -> Fields:
        """Exchange fields with the events before this one.

        Args:
            ruleset: name of the ruleset that decoded the event.
            key: names the transaction.
            fields: `own_fields` of the event.
            at_ms: event time.

        Returns:
            Fields that the event lacks and the ones before it had.
        """
        where = (f"accumulate:{ruleset}", short(key))
        at_s = at_ms // 1000
        data = self._cells.get(where)
        before = {} if data is None else _fresh(_decoder.decode(data), at_s)
        self._cells.put(where, _encode(_Entry(at_s, fields | before)), at_ms)
        return {name: value for name, value in before.items() if name not in fields}


def _fresh(entry: _Entry, at_s: int) -> Fields:
    return entry.fields if at_s - entry.at_s <= LIFE_S else {}
