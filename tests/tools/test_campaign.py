"""What a campaign counts: one line, one alert or one request too few or too many shows, wherever it is."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from campaign import Written, count, user_of, wrong
from stand import failed_login

from hids.adapters.ledger import Ledger
from hids.messages.lane import Progress
from hids.messages.terms import SourceId
from hids.ports import Group, Stretch

LINES = 40
SAID = 2
"""Lines of the agent about itself."""
USERS = ("c5", "c25")


class Fleet:
    """What is left after a campaign in which nothing went wrong, until a test changes that."""

    def __init__(self, folder: Path) -> None:
        self.names = ["web1"]
        self.written = Counter(web1=LINES)
        self.attacks = {user: Written("web1", 0.0) for user in USERS}
        self.paths = SimpleNamespace(ledger=folder / "ledger.db")
        self.told: list[dict[str, Any]] = [
            *(self._alert(number, "hids-agent", "agent started") for number in (1, 2)),
            *(self._alert(number, "/x.log", failed_login(user).strip()) for number, user in enumerate(USERS, 3)),
        ]
        self.receiver = SimpleNamespace(
            seen=Counter({alert["id"]: 1 for alert in self.told}),
            logs={alert["id"]: alert["full_log"] for alert in self.told},
            forged=0,
            changed=0,
        )
        self.stretch = Stretch(1, LINES + SAID, {"evaluated": LINES + SAID})

    def _alert(self, number: int, location: str, log: str) -> dict[str, Any]:
        return {
            "id": f"001-1-{number}",
            "agent": {"id": "001"},
            "rule": {"id": "201210"},
            "location": location,
            "full_log": log,
            "hids": {"number": number},
        }

    def ask(self, command: str) -> list[dict[str, str]]:
        assert command == "agents"
        return [{"name": "web1", "id": "001"}]

    def alerts(self) -> list[dict[str, Any]]:
        return self.told

    def counted(self) -> dict[str, Any]:
        ledger = Ledger(self.paths.ledger)
        source = SourceId("agent/001")
        progress = {source: Progress(1, self.stretch.last, bytes(32))}
        ledger.commit(Group(progress=progress, stretches={(source, 1): self.stretch}), 1)
        ledger.close()
        return count(self)  # type: ignore[arg-type]


def test_nothing_is_wrong(tmp_path: Path):
    result = Fleet(tmp_path).counted()
    assert (result["lost"], result["doubled"], result["balances"]) == (0, 0, True)
    assert not wrong({**result, "altered": []})


def test_what_is_wrong_is_named(tmp_path: Path):
    fleet = Fleet(tmp_path)
    without_request(fleet)
    result = {**fleet.counted(), "altered": []}
    (example,) = result["examples"]["not at the webhook"]
    assert example.startswith("001-1-4 rule 201210: ")
    assert wrong(result)
    assert wrong({**result, "lost": 0, "altered": ["alerts.json: changed"]})


def without_line(fleet: Fleet) -> None:
    fleet.stretch = Stretch(1, LINES + SAID - 1, {"evaluated": LINES + SAID - 1})


def with_line(fleet: Fleet) -> None:
    fleet.stretch = Stretch(1, LINES + SAID + 1, {"evaluated": LINES + SAID + 1})


def with_hole(fleet: Fleet) -> None:
    fleet.stretch.counts = {"evaluated": LINES + SAID - 1, "lost": 1}


def without_alert(fleet: Fleet) -> None:
    del fleet.told[-1]


def with_alert(fleet: Fleet) -> None:
    fleet.told.append(fleet.told[-1])


def without_request(fleet: Fleet) -> None:
    del fleet.receiver.seen["001-1-4"], fleet.receiver.logs["001-1-4"]


def with_other_id(fleet: Fleet) -> None:
    fleet.receiver.seen["001-1-99"] = 1
    fleet.receiver.logs["001-1-99"] = fleet.receiver.logs["001-1-4"]


@pytest.mark.parametrize(
    ("change", "lost", "doubled", "place"),
    [
        (without_line, True, False, "ledger"),
        (with_line, False, True, "ledger"),
        (with_hole, True, False, "ledger"),
        (without_alert, True, False, "alerts.json"),
        (with_alert, False, True, "alerts.json"),
        (without_request, True, False, "webhook"),
        (with_other_id, False, True, "webhook"),
    ],
)
def test_what_is_wrong_shows(tmp_path: Path, change: Callable[[Fleet], None], place: str, *, lost: bool, doubled: bool):
    fleet = Fleet(tmp_path)
    change(fleet)
    result = fleet.counted()
    assert (result["lost_in"][place] > 0, result["doubled_in"][place] > 0) == (lost, doubled)
    assert (result["lost"] > 0, result["doubled"] > 0) == (lost, doubled)


def test_a_ledger_that_does_not_balance_shows(tmp_path: Path):
    fleet = Fleet(tmp_path)
    fleet.stretch.counts = {"evaluated": LINES}
    assert not fleet.counted()["balances"]


def test_lines_that_came_twice_and_were_known_are_not_doubled(tmp_path: Path):
    fleet = Fleet(tmp_path)
    fleet.stretch = Stretch(1, LINES + SAID + 5, {"evaluated": LINES + SAID, "known": 5})
    result = fleet.counted()
    assert (result["lost"], result["doubled"]) == (0, 0)


def test_which_lines_are_attacks():
    assert user_of(failed_login("c17")) == "c17"
    assert user_of("agent started") == ""
