import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.adapters.outbox import Outbox, OutboxRow
from hids.adapters.outputs.file import JSON_LINES, NEWS_LINES, AlertFile, Form, text_blocks
from hids.errors import StoreError

TEXT = text_blocks(UTC)
ALL = 100_000
"""A ledger that has all alerts a test will ever name."""


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def monotonic_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path: Path):
    return tmp_path / "alerts.json"


@pytest.fixture(scope="session")
def row(make_lines: Callable[..., bytes]):
    def make(first: int, count: int = 1, **members: object) -> OutboxRow:
        return OutboxRow(first=first, count=count, lines=make_lines(first, count, **members))

    return make


def reopen(path: Path, clock: Clock, newest: int = ALL) -> AlertFile:
    return AlertFile(path, JSON_LINES, newest, clock)


def test_json_form_is_what_was_committed(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 2), row(3)])
        assert (file.number, file.saved) == (3, 0)
    assert file.saved == 3
    assert path.read_bytes() == make_lines(1, 3)


def test_text_form(tmp_path: Path, clock: Clock, row: Callable[..., OutboxRow]):
    with closing(AlertFile(tmp_path / "alerts.log", TEXT, ALL, clock)) as file:
        file.append([row(1, 2)])
    blocks = (tmp_path / "alerts.log").read_text().split("\n\n")
    assert [block.split(" - ")[0] for block in blocks] == [
        "** Alert 1795490503.1:",
        "** Alert 1795490503.2:",
        "",
    ]


def test_mode_lets_the_group_read(path: Path, clock: Clock):
    with closing(reopen(path, clock)):
        assert path.stat().st_mode & 0o777 == 0o640


def test_alerts_that_it_has_are_left_out(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 2)])
        file.append([row(1, 2), row(2, 3)])
    assert path.read_bytes() == make_lines(1, 4)


def test_cursor_is_saved_after_a_second_of_alerts(path: Path, clock: Clock, row: Callable[..., OutboxRow]):
    with closing(reopen(path, clock)) as file:
        file.append([row(1)])
        clock.at_s += 1
        assert file.saved == 0
        file.append([row(2)])
        assert file.saved == 2


def test_gap_in_the_outbox_is_counted(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file, structlog.testing.capture_logs() as logs:
        file.append([row(1), row(5)])
        assert file.missed == 3
    assert path.read_bytes() == make_lines(1) + make_lines(5)
    assert [(entry["first"], entry["alerts"]) for entry in logs] == [(2, 3)]


def test_line_that_is_no_alert_is_left_out_of_the_text(tmp_path: Path, clock: Clock, row: Callable[..., OutboxRow]):
    with closing(AlertFile(tmp_path / "alerts.log", TEXT, ALL, clock)) as file:
        with structlog.testing.capture_logs() as logs:
            file.append([OutboxRow(first=1, count=2, lines=b"{}\nnonsense\n"), row(3)])
        assert file.number == 3
    assert len(logs) == 2
    assert (tmp_path / "alerts.log").read_text().count("** Alert") == 1


# -- after a crash -------------------------------------------------------------------------------------------


@pytest.mark.fault
@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("form", [JSON_LINES, TEXT], ids=["json", "text"])
def test_every_alert_exactly_once_however_often_it_dies(
    make_lines: Callable[..., bytes], form: Form, data: st.DataObject
):
    """Lives end without a word; each leaves a file cut at any byte and a cursor of any earlier moment."""
    total = data.draw(st.integers(1, 8))
    everything = make_lines(1, total)
    expected = form.render(everything)
    outbox = OutboxRow(first=1, count=total, lines=everything)
    with tempfile.TemporaryDirectory() as folder:
        path, cursor = Path(folder, "alerts"), Path(folder, "alerts.cursor")
        for _ in range(data.draw(st.integers(1, 4))):
            clock = Clock()
            file = AlertFile(path, form, total, clock)
            for _ in range(data.draw(st.integers(0, 3))):
                upto = data.draw(st.integers(file.number, total))
                part = everything.split(b"\n")[file.number : upto]
                lines = b"".join(line + b"\n" for line in part)
                file.append([OutboxRow(first=file.number + 1, count=len(part), lines=lines)] if part else [])
                if data.draw(st.booleans()):
                    file.save()
            assert expected.startswith(path.read_bytes())
            written = path.stat().st_size
            os.close(file._fd)  # as kill -9 does; what was written after the last save may be cut anywhere
            os.truncate(path, data.draw(st.integers(file._saved.offset, written)))
            if data.draw(st.booleans()):
                cursor.unlink(missing_ok=True)
            elif cursor.exists() and data.draw(st.booleans()):
                os.truncate(cursor, data.draw(st.integers(0, cursor.stat().st_size)))
        file = AlertFile(path, form, total, Clock())
        file.append([outbox])
        file.close()
        assert path.read_bytes() == expected


KILLED = """
import json, sys
from pathlib import Path
from hids.adapters.clock import SystemClock
from hids.adapters.outbox import Outbox
from hids.adapters.outputs.file import JSON_LINES, AlertFile
folder = Path(sys.argv[1])
outbox = Outbox(folder / "ledger.db")
file = AlertFile(folder / "alerts.json", JSON_LINES, 4000, SystemClock())
print("ready", flush=True)
while rows := outbox.read(file.number, limit=1):
    file.append(rows)
file.close()
"""


@pytest.mark.slow
@pytest.mark.fault
def test_killed_process(tmp_path: Path, fill_outbox: Callable[..., None], make_lines: Callable[..., bytes]):
    fill_outbox(tmp_path / "ledger.db", [make_lines(first, 20) for first in range(1, 4000, 20)])
    path = tmp_path / "alerts.json"
    for wait_for in (1, 200_000, 600_000):
        argv = [sys.executable, "-c", KILLED, str(tmp_path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            while path.stat().st_size < wait_for and process.poll() is None:
                pass  # the size is what is waited for; the process ends by itself at the latest
            process.send_signal(signal.SIGKILL)
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    assert path.read_bytes() == make_lines(1, 4000)


@given(cut=st.integers(0, 2_000), size=st.integers(1, 4))
def test_incidents_file_cut_anywhere_goes_on(
    tmp_path_factory: pytest.TempPathFactory, make_lines: Callable[..., bytes], cut: int, size: int
):
    """Rows of `size` alerts, every third of which is news; the file is cut as by a crash before the cursor was saved."""
    lines = [
        make_lines(
            number,
            hids={"number": number, "incident": {"id": "1", "key": {}, "news": "first" if number % 3 == 0 else ""}},
        )
        for number in range(1, 13)
    ]
    rows = [
        OutboxRow(first=start + 1, count=len(part), lines=b"".join(part))
        for start in range(0, 12, size)
        if (part := lines[start : start + size])
    ]
    expected = b"".join(lines[2::3])
    path = tmp_path_factory.mktemp("news") / "incidents.json"
    path.write_bytes(expected[: min(cut, len(expected))])
    with closing(AlertFile(path, NEWS_LINES, ALL, Clock())) as file:
        file.append([row for row in rows if row.last > file.number])
        assert file.number == 12
    assert path.read_bytes() == expected


def test_torn_record_that_is_not_the_next_one_is_ended(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    path.write_bytes(make_lines(1) + b'{"other"')
    with structlog.testing.capture_logs() as logs, closing(reopen(path, clock)) as file:
        file.append([row(1), row(2)])
    assert path.read_bytes() == make_lines(1) + b'{"other"\n' + make_lines(2)
    assert len(logs) == 1


def test_longer_torn_record_than_any_of_ours(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    path.write_bytes(make_lines(1) + b"x" * 3_000_000)
    with closing(reopen(path, clock)) as file:
        assert len(file._torn) <= 1024 * 1024
        file.append([row(2)])
    assert path.read_bytes().endswith(b"x\n" + make_lines(2))
    assert path.read_bytes().startswith(make_lines(1) + b"xxx")


def test_lost_cursor_is_found_in_the_tail_of_a_large_file(
    path: Path,
    clock: Clock,
    row: Callable[..., OutboxRow],
    make_lines: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("hids.adapters.outputs.file._LOOK_BACK", 5_000)
    path.write_bytes(make_lines(1, 100))
    with closing(reopen(path, clock)) as file:
        assert file.number == 100
        file.append([row(90, 12)])
    assert path.read_bytes() == make_lines(1, 101)


def test_damaged_cursor_is_said(path: Path, clock: Clock, make_lines: Callable[..., bytes]):
    path.write_bytes(make_lines(1, 3))
    path.with_name("alerts.json.cursor").write_bytes(b"\xff{")
    with structlog.testing.capture_logs() as logs, closing(reopen(path, clock)) as file:
        assert file.number == 3
    assert logs[0]["event"].startswith("cursor is damaged")


# -- other programs ------------------------------------------------------------------------------------------


def test_moved_while_it_runs(path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 2)])
        path.rename(path.with_suffix(".1"))
        file.append([row(3)])
        path.unlink()
        file.append([row(4)])
        assert path.read_bytes() == make_lines(4)
    assert path.with_suffix(".1").read_bytes() == make_lines(1, 2)


def test_moved_and_crashed_before_the_cursor_was_saved(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    file = reopen(path, clock)
    file.append([row(1)])
    file.save()
    file.append([row(2)])
    os.close(file._fd)
    path.rename(path.with_suffix(".1"))
    path.touch()
    with closing(reopen(path, clock)) as file:
        assert file.number == 2
        file.append([row(1), row(2), row(3)])
    assert path.read_bytes() == make_lines(3)


def test_cut_in_place_while_it_runs(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 3)])
        os.truncate(path, 0)
        file.append([row(4)])
    assert path.read_bytes() == make_lines(4)


def test_cut_within_a_record_while_it_runs(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 3)])
        os.truncate(path, path.stat().st_size - 5)
        file.append([row(4)])
    assert path.read_bytes() == make_lines(1, 3)[:-5] + b"\n" + make_lines(4)


def test_new_file_begins_with_what_there_still_is(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file, structlog.testing.capture_logs() as logs:
        file.append([row(5000)])
        assert (file.missed, logs) == (0, [])
    assert path.read_bytes() == make_lines(5000)


def test_cut_in_place_while_it_was_stopped(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 3)])
    os.truncate(path, 0)
    with closing(reopen(path, clock)) as file:
        file.append([row(3), row(4)])
    assert path.read_bytes() == make_lines(4)


@pytest.mark.parametrize("junk", [b"a line of an administrator\n", b'{"hids":{"number":99999999}}\n', b"\n\n"])
def test_lines_of_others_are_left_alone(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes], junk: bytes
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 2)])
        with path.open("ab") as other:
            other.write(junk)
        file.append([row(3)])
    with path.open("ab") as other:
        other.write(junk)
    with closing(reopen(path, clock)) as file:
        file.append([row(3), row(4)])
    assert path.read_bytes() == make_lines(1, 2) + junk + make_lines(3) + junk + make_lines(4)


def test_edited_to_another_length(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 3)])
    path.with_suffix(".new").write_bytes(make_lines(2, 2))
    path.with_suffix(".new").replace(path)
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 3), row(4)])
    assert path.read_bytes() == make_lines(2, 3)


def test_older_ledger_was_restored(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    with closing(reopen(path, clock)) as file:
        file.append([row(1, 5)])
    again = row(4, 2, full_log="another alert")
    with closing(reopen(path, clock, newest=3)) as file:
        assert file.number == 3
        file.append([row(1, 3), again])
    with closing(reopen(path, clock, newest=5)) as file:
        assert file.number == 5
    assert path.read_bytes() == make_lines(1, 5) + again.lines


# -- the disk ------------------------------------------------------------------------------------------------


@pytest.mark.fault
@pytest.mark.parametrize("form", [JSON_LINES, TEXT], ids=["json", "text"])
def test_file_may_not_grow(
    path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes], form: Form
):
    """Stands for a full disk: the write is cut short in the middle of a record, then refused."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with closing(AlertFile(path, form, ALL, clock)) as file:
            for limit in (1, 700, 1500):
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
                with pytest.raises(StoreError, match=r"alerts\.json: cannot append to this file: File too large"):
                    file.append([row(1, 9)])
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            file.append([row(1, 9)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == form.render(make_lines(1, 9))


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk(tmp_path: Path, clock: Clock, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]):
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path],  # noqa: S607
        check=False,
        capture_output=True,
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mount.stderr.decode()}")
    try:
        path, ballast = tmp_path / "alerts.json", tmp_path / "ballast"
        ballast.write_bytes(bytes(40 * 1024))
        with closing(reopen(path, clock)) as file:
            with pytest.raises(StoreError, match="No space left on device"):
                file.append([row(1, 80)])
            assert 0 < file.number < 80
            with pytest.raises(StoreError, match=r"alerts\.json\.cursor: cannot write: No space left"):
                file.save()
            assert file.saved == 0
            ballast.unlink()
            file.append([row(1, 80)])
        assert path.read_bytes() == make_lines(1, 80)
    finally:
        subprocess.run(["umount", tmp_path], check=True)  # noqa: S607


def test_folder_that_is_not_there(tmp_path: Path, clock: Clock):
    with pytest.raises(StoreError, match="cannot open this file: No such file or directory"):
        reopen(tmp_path / "nowhere" / "alerts.json", clock)


def test_folder_that_vanishes(tmp_path: Path, clock: Clock, row: Callable[..., OutboxRow]):
    folder = tmp_path / "alerts"
    folder.mkdir()
    file = reopen(folder / "alerts.json", clock)
    (folder / "alerts.json").unlink()
    folder.rmdir()
    with pytest.raises(StoreError, match="cannot append"):
        file.append([row(1)])
    folder.mkdir()
    with closing(file):
        file.append([row(1)])
    assert (folder / "alerts.json").read_bytes() == row(1).lines


def test_follows_a_real_outbox(
    tmp_path: Path, clock: Clock, fill_outbox: Callable[..., None], make_lines: Callable[..., bytes]
):
    fill_outbox(tmp_path / "ledger.db", [make_lines(1, 3), make_lines(4, 2)])
    with closing(Outbox(tmp_path / "ledger.db")) as outbox, closing(reopen(tmp_path / "a", clock)) as file:
        file.append(outbox.read(file.number, limit=1))
        file.append(outbox.read(file.number))
        assert (tmp_path / "a").read_bytes() == make_lines(1, 5)
        assert outbox.read(file.number) == []
