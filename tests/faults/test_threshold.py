"""Kill -9 around the line that reaches a rule's threshold: the alert comes, and comes once.

`tools/kill_points` does it at every system call of every process; here are the points at which something changes hands.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_points import Point, Way, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.fault,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(why_not()), reason=f"needs strace: {why_not()}"),
]


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    way = Way(tmp_path, settle_s=0.2, rest_s=0)
    try:
        way.begin()
        yield way
    finally:
        way.close()


def points(way: Way, role: str, *wanted: str) -> list[Point]:
    """The first point of a role for each call, or message that it sends."""
    recorded = way.record(role)
    return [next(point for point in recorded if name in (point.call, point.message)) for name in wanted]


def test_every_attacker_is_told_exactly_once(way: Way):
    synced, acknowledged = points(way, "lane", "fdatasync", "committed")
    (passed_on,) = points(way, "manager", "outcome")
    kills = [
        ("worker", *points(way, "worker", "outcome")),
        ("lane", acknowledged),
        ("manager", passed_on),
        ("outputs", *points(way, "outputs", "write")),
        ("lane", synced),
        ("manager", acknowledged),
    ]
    for victim, point in kills:
        assert any(trial.right for trial in way.tries(victim, point)), f"{victim} was never killed before {point}"
    assert way.wrong() == {}
