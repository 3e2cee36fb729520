"""What collectors make of their sources is what Wazuh's own decoders and rules expect."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hids.agent.eventlog import to_line
from hids.agent.evtx import EvtxFile
from hids.core.collect.formats import grouping_of
from hids.core.collect.shape import Place, Shape
from hids.manager.logtest import Logtest
from hids.messages.lines import LogLine
from tools import conformance
from tools.upstream import read_load

pytestmark = pytest.mark.slow

NOW_MS = 1_795_490_503_000
FOLDER = os.environ.get("HIDS_CONFORMANCE")
SAMPLES = os.environ.get("HIDS_SAMPLES")


@cache
def logtest() -> Logtest:
    if not FOLDER:
        pytest.skip("HIDS_CONFORMANCE does not name the folder of upstream's rules and tests")
    engine = conformance.Engine(read_load(Path(FOLDER) / "wazuh" / "load.json", "production"))
    return Logtest([engine.plan], "host")


def judged(line: LogLine) -> tuple[str, int]:
    """(decoder, rule) of a line; "" and 0 for none."""
    told: dict[str, Any] = logtest().test(line)[0]
    rule = told["rule"]
    return told["decoder"] or "", rule["id"] if rule else 0


@pytest.mark.parametrize(
    ("name", "text", "decoder"),
    [
        ("mysql_log", b"261124  3:21:43 [Note] Access denied for user x\n", "mysql_log"),
        ("postgresql_log", b"[2026-11-24 03:21:43 UTC] 192.0.2.9:db FATAL:  password\n\tof x\n", "postgresql_log"),
        (
            "snort-full",
            b"[**] [1:2:3] scan [**]\n[Priority: 2]\n11/24-03:21:43.1 192.0.2.7:4 -> 10.0.0.1:80\nTCP\n\n",
            "snort",
        ),
        ("audit", b'type=SYSCALL msg=audit(1.0:7): syscall=59 key="k"\ntype=CWD msg=audit(1.0:7): cwd="/"\n', "auditd"),
    ],
)
def test_events_of_several_lines_are_decoded(name: str, text: bytes, decoder: str):
    grouping = grouping_of(name)
    assert grouping is not None
    (event,) = [event for group in grouping.groups(text.splitlines(), over=True) for event in group.events]
    assert judged(LogLine("/x", event, NOW_MS, NOW_MS))[0] == decoder


@pytest.mark.skipif(not SAMPLES, reason="HIDS_SAMPLES is not set to the folder that holds evtx/")
def test_windows_events_give_their_rules():
    place = Place("x", "host", "")
    records = EvtxFile(str(Path(SAMPLES or "") / "evtx" / "new-user-security.evtx")).read(b"")
    lines = [to_line(record, Shape(), place, NOW_MS) for record in records]
    told = sorted(judged(line) for line in lines if line is not None)
    assert told == [("windows_eventchannel", rule) for rule in (60109, 60154, 60160, 60170)]
