"""Files that are sealed and put away: killed at any step, each record is in them once, and all is as it was sealed."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sealed import DAY, Bench, put_away

from hids.adapters.archive import lines_of
from hids.adapters.rotated import place_for, rotated
from hids.errors import StoreError


@pytest.fixture
def bench(tmp_path: Path, make_lines: Callable[..., bytes]) -> Bench:
    return Bench(tmp_path, make_lines)


def test_a_file_is_put_away_when_its_day_is_over_while_it_runs_or_not(bench: Bench):
    put_away(bench, 2)
    file = bench.open()
    bench.next_day()
    file.save()
    assert (bench.path.stat().st_size, file.number) == (0, 8)
    file.append([bench.row(9)])
    file.close()
    first = datetime.fromtimestamp(bench.clock.ms / 1000).date() - 2 * DAY  # noqa: DTZ006 - days are local
    assert [old.day for old in rotated(bench.path)] == [first, first + DAY]
    assert rotated(bench.path)[0].path.name == f"ossec-alerts-{first.day:02d}.json"
    assert bench.numbers() == list(range(1, 10))
    assert bench.verify().problems == ()


def test_a_file_that_is_large_is_put_away_before(bench: Bench):
    bench.max_bytes = 1000
    file = bench.open()
    for number in range(1, 7):
        file.append([bench.row(number)])
    file.close()
    old = rotated(bench.path)
    assert [one.serial for one in old] == [0, 1]
    assert place_for(bench.path, old[0].day).name == f"ossec-alerts-{old[0].day.day:02d}-002.json"
    assert bench.numbers() == [1, 2, 3, 4, 5, 6]
    verdict = bench.verify()
    assert (verdict.problems, verdict.records, verdict.files) == ((), 6, 3)


@pytest.mark.parametrize("days", [1, 3, 400])
def test_a_clock_that_is_ahead_for_a_while_costs_no_alert_and_no_order(bench: Bench, days: int):
    file = bench.open()
    for number, day in enumerate((0, days, 0, 1, 2), 1):
        before, bench.clock.ms = bench.clock.ms, bench.clock.ms + day * DAY // timedelta(milliseconds=1)
        file.append([bench.row(number)])
        file.save()
        bench.clock.ms = before
    file.close()
    assert bench.numbers() == [1, 2, 3, 4, 5]
    assert bench.verify().problems == ()


def test_a_clock_that_goes_back_over_midnight_changes_no_file(bench: Bench):
    file = bench.open()
    file.append([bench.row(1)])
    bench.clock.ms -= DAY // timedelta(milliseconds=1)
    file.append([bench.row(2)])
    file.close()
    assert rotated(bench.path) == []


class Killed(BaseException):
    """What a process does not get to say."""


@pytest.mark.fault
@pytest.mark.parametrize("name", ["alerts.json", "alerts.log"])
def test_killed_at_every_step_of_putting_away(
    tmp_path: Path, make_lines: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, name: str
):
    """Whatever changes the disk may be the last thing that a life did, or the last but one."""
    steps = 0
    for die_at in range(100):
        (folder := tmp_path / f"{name}-{die_at}").mkdir()
        bench = Bench(folder, make_lines, name)
        with monkeypatch.context() as patched:
            left = [die_at]

            def counted(does: Callable[..., Any], left: list[int] = left) -> Callable[..., Any]:
                def do(*arguments: Any, **options: Any) -> Any:
                    if left[0] == 0:
                        raise Killed
                    left[0] -= 1
                    return does(*arguments, **options)

                return do

            put_away(bench, 1)
            for where in ("pathlib.Path.rename", "pathlib.Path.replace", "pathlib.Path.mkdir", "os.fdatasync"):
                module, _, attribute = where.rpartition(".")
                patched.setattr(where, counted(getattr(Path if module == "pathlib.Path" else os, attribute)))
            file = bench.open()
            try:
                bench.next_day()
                file.append([bench.row(5, 2)])
                file.save()
                file.close()
                steps = die_at
            except Killed:
                with suppress(OSError):
                    os.close(file._fd)
        if not steps:
            file = bench.open()
            file.append([row for row in [bench.row(1, 6)] if file.number < 6])
            bench.next_day()
            file.append([bench.row(7)])
            file.close()
        shown = [bench.form.number(record) for record in b"".join(lines_of(bench.path)).split(bench.form.end)[:-1]]
        assert shown == list(range(1, 8 if not steps else 7)), f"killed at step {die_at}"
        assert bench.verify().problems == (), f"killed at step {die_at}"
        if steps:
            break
    assert steps > 8


def test_a_file_from_before_there_were_seals_is_sealed(bench: Bench):
    bench.path.write_bytes(bench.make_lines(1, 50))
    bench.open().close()
    verdict = bench.verify()
    assert (verdict.problems, verdict.records) == ((), 50)


def test_lines_of_others_are_sealed_where_they_stand(bench: Bench):
    file = bench.open()
    file.append([bench.row(1)])
    with bench.path.open("ab") as other:
        other.write(b"a line of an administrator\n")
    file.append([bench.row(2)])
    file.close()
    verdict = bench.verify()
    assert (verdict.problems, verdict.records) == ((), 3)


@pytest.mark.parametrize("damage", ["cut", "removed", "moved"])
def test_a_file_that_others_move_or_cut_is_told_and_goes_on(bench: Bench, damage: str):
    file = bench.open()
    file.append([bench.row(1, 3)])
    file.save()
    if damage == "cut":
        os.truncate(bench.path, 0)
    elif damage == "removed":
        bench.path.unlink()
    else:
        bench.path.rename(bench.path.with_suffix(".1"))
    file.append([bench.row(4, 2)])
    file.close()
    problems = bench.verify().problems
    assert [(problem.seal, problem.what) for problem in problems] == [(1, "this record was altered")]
    assert bench.numbers() == [4, 5]


def test_a_disk_that_refuses_to_seal_is_said_and_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    file = bench.open()
    file.append([bench.row(1)])

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hids.adapters.evidence.seals.append_durably", refuse)
        with pytest.raises(StoreError, match=r"cannot seal this file: No space left"):
            file.save()
    file.append([bench.row(2)])
    file.close()
    verdict = bench.verify()
    assert (verdict.problems, verdict.records) == ((), 2)
