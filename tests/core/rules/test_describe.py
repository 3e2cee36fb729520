import pytest

from hids.core.decode.event import Event
from hids.core.decode.header import Header
from hids.core.decode.reading import Reading
from hids.core.rules.describe import MAX_BYTES, template
from hids.messages.lines import LogLine


def event(**fields: bytes) -> Event:
    dynamic = {name.lower(): value for name, value in fields.items()}
    reading = Reading(b"", "wazuh", rewrites=False, _all=fields, _dynamic=dynamic)
    return Event(LogLine("f", b"", 0, 0), Header(None, b"web1", b"sshd", b"", b""), reading)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("by $(srcip)", b"by 192.0.2.7"),
        ("$(dstuser)$(nope)!", b"joe!"),
        ("f=$(win.User) n=$(WIN.user) $x $(open", b"f=S-1 n=S-1 $x $(open"),
        ("$(program_name) on $(hostname)", b"sshd on web1"),
    ],
)
def test_fields_in_descriptions(written: str, text: bytes) -> None:
    read = template(written)
    assert read is not None
    assert read.text(event(srcip=b"192.0.2.7", dstuser=b"joe", **{"win.User": b"S-1"})) == text


def test_a_text_without_fields_is_no_template() -> None:
    assert template("costs $5, $x and $(open") is None


def test_what_grows_too_long_is_shown_as_written() -> None:
    read = template("by $(srcip)")
    assert read is not None
    assert read.text(event(srcip=b"x" * MAX_BYTES)) == b"by $(srcip)"
    assert len(read.text(event(srcip=b"x" * (MAX_BYTES - 3)))) == MAX_BYTES
