"""Decoders and fields of OSSEC's and Wazuh's own tests, line by line, as their engines gave them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hids.core.decode.decoder import DecoderTree
from hids.core.decode.event import Origin, decode, undecoded
from hids.core.decode.load import load_decoders
from hids.core.dialect import Dialect
from hids.core.markup import OSSEC_VARIABLE, WAZUH_VARIABLE, expand, read
from hids.errors import Problem
from hids.messages.lines import LogLine

OWN_HOST = b"vm"
"""Upstream's answers were taken on a machine of this name."""
PRINTED = {"proto": "protocol"}
"""Fields that OSSEC prints under another name."""
SUITES: list[Dialect] = ["ossec", "wazuh"]


@pytest.fixture(scope="module")
def conformance() -> Path:
    folder = os.environ.get("HIDS_CONFORMANCE")
    if not folder:
        pytest.skip("HIDS_CONFORMANCE is not set to the folder of the conformance data")
    return Path(folder)


def decoders(folder: Path, dialect: Dialect) -> DecoderTree:
    order = json.loads((folder / "load.json").read_text())
    problems: list[Problem] = []
    elements = [
        element
        for path in (order if dialect == "ossec" else order["testing"])["decoders"]
        for element in expand(
            read(path, (folder / path).read_bytes(), problems, strict=False, pairs=dialect == "wazuh"),
            OSSEC_VARIABLE if dialect == "ossec" else WAZUH_VARIABLE,
            problems,
        )
    ]
    tree = load_decoders(elements, dialect, problems)
    assert problems == []
    return tree


def events(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((folder / "tests").glob("*.jsonl")):
        for record in path.read_text().splitlines():
            case = json.loads(record)
            extra, upstream = case["extra"], case["extra"]["upstream"]
            if "unescaped_logs" in extra:
                yield from zip(extra["unescaped_logs"], upstream["events_with_unescaped_logs"], strict=True)
            else:
                yield from zip(case["logs"], upstream["events"], strict=True)


def flat(data: dict[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from flat(cast("dict[str, Any]", value), f"{head}{name}.")
        else:
            yield head + name, value


def printed(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as OSSEC prints them, by the names that decoders use."""
    return {PRINTED.get(name, name): value for name, value in fields.items()}


def same(name: str, event: Any, expected: dict[str, Any]) -> bool:
    """Wazuh's alerts leave empty fields out and hold arrays as arrays."""
    value = event.fields.get(name)
    if value is None:
        return name not in expected
    text = value.decode(errors="replace")
    if name not in expected:
        return event.dialect == "wazuh" and not text
    return bool((parsed(text) if isinstance(expected[name], list) else text) == expected[name])


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.mark.parametrize("dialect", SUITES)
def test_every_line_has_upstreams_decoder_and_fields(conformance: Path, dialect: Dialect) -> None:
    tree = decoders(conformance / dialect, dialect)
    wrong: list[Any] = []
    count = 0
    for log, expected in events(conformance / dialect):
        line = LogLine("stdin", log.encode("utf-8", "surrogateescape"), 0, 0)
        event = undecoded(line, dialect, Origin(OWN_HOST), log_fw=False, blind=True)
        decode(tree, event)
        fields = dict(flat(expected["data"])) if "data" in expected else printed(expected["fields"])
        count += 1
        differing = [name for name in fields.keys() | event.fields.keys() if not same(name, event, fields)]
        if event.decoder_name != expected["decoder"] or differing:
            wrong.append((log, event.decoder_name, expected["decoder"], differing))
    assert wrong == []
    assert count >= {"ossec": 195, "wazuh": 1034, "hids": 0}[dialect]
