"""The clock for what is removed by age: over restarts, and what is said of it."""

from pathlib import Path

from waiting import SetClock

from hids.adapters.believed import FILE, BelievedClock, ClockWatch

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


def test_a_jump_of_a_running_machine(tmp_path: Path):
    clock = SetClock()
    believed = BelievedClock(clock, tmp_path)
    true_ms = clock.ms
    clock.ms += YEAR_MS
    assert believed.now_ms() == true_ms
    clock.advance(3600)
    assert believed.now_ms() == true_ms + 3_600_000
    clock.ms -= YEAR_MS
    assert believed.now_ms() == clock.ms


def test_a_machine_that_starts_with_a_wrong_clock(tmp_path: Path):
    clock = SetClock()
    BelievedClock(clock, tmp_path).save()
    true_ms = clock.ms
    later = SetClock(clock.ms + YEAR_MS)
    later.s = 5.0  # another boot
    assert BelievedClock(later, tmp_path).now_ms() == true_ms
    assert BelievedClock(later, None).now_ms() == later.ms


def test_without_the_file_or_with_a_damaged_one_the_clock_is_believed(tmp_path: Path):
    clock = SetClock()
    assert BelievedClock(clock, tmp_path).now_ms() == clock.ms
    (tmp_path / FILE).write_bytes(b"\xff")
    assert BelievedClock(clock, tmp_path).now_ms() == clock.ms


def test_what_the_rules_see(tmp_path: Path):
    clock = SetClock()
    watch = ClockWatch(BelievedClock(clock, tmp_path))
    assert watch.run() == []
    clock.ms += 3 * DAY_MS
    (text,) = watch.run()
    assert (
        text
        == "clock in doubt: 3.0 days ahead of the time that was seen to pass; nothing is removed for its age for a day"
    )
    said = [text]
    for _ in range(25 * 60):
        clock.advance(60)
        said += watch.run()
    assert said == [text, "clock believed: what is old is removed again"]


def test_a_second_larger_jump_is_said_too(tmp_path: Path):
    clock = SetClock()
    watch = ClockWatch(BelievedClock(clock, tmp_path))
    clock.ms += DAY_MS
    watch.run()
    clock.ms += YEAR_MS
    assert watch.run() == [
        "clock in doubt: 366.0 days ahead of the time that was seen to pass; nothing is removed for its age for a day"
    ]
