"""Every kind of output has a destination, and a library that is missing is named with what to install."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from waiting import SetClock

from hids.adapters.outputs.kinds import Site, check_library, destination_of
from hids.core.outputs import AnyOutput, Output
from hids.errors import ConfigError

WORDS: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://example.org/"},
    "syslog": {"server": "h:1"},
    "email": {"to": ("a@b.c",), "sender": "a@b.c"},
    "notify": {"url_file": "/x"},
    "opensearch": {"urls": ("https://example.org:9200",)},
    "sql": {"url": "sqlite://"},
    "kafka": {"servers": ("h:9092",)},
    "nats": {"servers": ("nats://h",)},
}


@pytest.mark.parametrize("kind", get_args(AnyOutput))
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_every_kind_has_a_destination(tmp_path: Path, kind: Any):
    output = kind(**WORDS[kind.__struct_config__.tag])
    assert output.problem() is None
    check_library(output)

    async def main() -> None:
        await destination_of(output, Site(tmp_path, SetClock(), lambda _alert, _reason: None)).close()

    asyncio.run(main())


class Rare(Output, frozen=True, kw_only=True, tag="rare"):
    """Needs what nobody has."""

    library: ClassVar[tuple[str, str]] = ("no_such_module", "rare")


def test_a_library_that_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"needs no_such_module: pip install 'hids\[rare\]'"):
        check_library(Rare(name="rare"))
