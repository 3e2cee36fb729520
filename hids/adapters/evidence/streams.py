"""How records stand in each file that is sealed, told by its name."""

from hids.adapters.evidence.seals import Records
from hids.adapters.outbox import alert_number
from hids.core.alert.text import number_of

_LINES = Records(end=b"\n", number=alert_number)
_BLOCKS = Records(end=b"\n\n", number=number_of)


def records_of(stream: str) -> Records:
    """A `.log` has blocks of text, all others one object of JSON a line."""
    return _BLOCKS if stream.endswith(".log") else _LINES
