"""Tailing real files through what administrators, logrotate and attackers do to them."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inotify_simple
import pytest

from hids.adapters.clock import SystemClock
from hids.agent import tail as tail_module
from hids.agent.collector import SourceState
from hids.agent.config import SourceConfig
from hids.agent.paths import Excluded
from hids.agent.spooler import Fetch
from hids.agent.tail import FileTail, dated, watch_points
from hids.core.collect.source import Multiline
from hids.core.wire.lines import unpack

Scene = Callable[..., None]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def tail(yard: Any, pattern: object, from_: str = "start", exclude: tuple[Path, ...] = ()) -> Any:
    config = SourceConfig(path=str(pattern), from_=from_)  # type: ignore[arg-type]
    return yard.start(FileTail, f"source {pattern}", config, Excluded(exclude))


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def test_what_is_there_and_what_is_added_comes_in_order(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    path.write_text("1\n2\n")

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, path)
        await until(lambda: yard.texts == [b"1", b"2"])
        append(path, "3\r\n\n4\n")
        await until(lambda: yard.texts == [b"1", b"2", b"3", b"4"])
        assert {line.location for line in yard.lines} == {str(path)}
        await until(lambda: state.idle)
        assert state.files == {str(path): (path.stat().st_size, 0)}

    in_yard(scene)


def test_from_end_leaves_out_what_was_there_but_not_what_appears_later(in_yard: Scene, logs: Path):
    (logs / "a.log").write_text("old\n")

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, logs / "*.log", "end")
        await until(lambda: state.idle)
        append(logs / "a.log", "new\n")
        await until(lambda: yard.texts == [b"new"])
        append(logs / "b.log", "late\n")
        await until(lambda: yard.texts == [b"new", b"late"])

    in_yard(scene)


def test_from_end_is_for_the_first_time_only(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    path.write_text("old\n")

    async def first(yard: Any, until: Any) -> None:
        state = tail(yard, logs / "*.log", "end")
        await until(lambda: state.idle)

    async def second(yard: Any, until: Any) -> None:
        tail(yard, logs / "*.log", "end")
        await until(lambda: sorted(yard.texts) == [b"appeared meanwhile", b"while away"])

    in_yard(first)
    append(path, "while away\n")
    append(logs / "b.log", "appeared meanwhile\n")
    in_yard(second)


def test_rename_and_create_loses_and_doubles_nothing(in_yard: Scene, logs: Path):
    path = logs / "a.log"

    async def scene(yard: Any, until: Any) -> None:
        tail(yard, path)
        wanted: list[bytes] = []
        for turn in range(4):
            for number in range(3):
                append(path, f"{turn}.{number}\n")
                wanted.append(b"%d.%d" % (turn, number))
            await until(lambda turn=turn: b"%d.0" % turn in yard.texts, "the new file")
            path.rename(logs / f"a.log.{turn}")
            append(logs / f"a.log.{turn}", f"{turn}.late\n")  # the daemon still has the old file open
            wanted.append(b"%d.late" % turn)
            await until(lambda: sorted(yard.texts) == sorted(wanted), "rotation")

    in_yard(scene)


def test_a_rotated_file_that_matches_the_glob_too_is_not_read_twice(in_yard: Scene, logs: Path):
    async def scene(yard: Any, until: Any) -> None:
        tail(yard, logs / "a.log*")
        append(logs / "a.log", "1\n")
        await until(lambda: yard.texts == [b"1"])
        (logs / "a.log").rename(logs / "a.log.1")
        append(logs / "a.log", "2\n")
        append(logs / "a.log.1", "3\n")
        (logs / "a.log.2.gz").write_bytes(b"\x1f\x8b compressed\n")
        await until(lambda: sorted(yard.texts) == [b"1", b"2", b"3"])

    in_yard(scene)


def test_rotation_while_the_agent_is_away_finishes_the_old_file(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    path.write_text("1\n")

    async def first(yard: Any, until: Any) -> None:
        tail(yard, path)
        await until(lambda: yard.texts == [b"1"])

    async def second(yard: Any, until: Any) -> None:
        tail(yard, path)
        await until(lambda: sorted(yard.texts) == [b"1", b"2", b"3"])
        assert {line.location for line in yard.lines} == {str(path)}

    in_yard(first)
    append(path, "2\n")
    path.rename(logs / "a.log.1")
    append(path, "3\n")
    in_yard(second)


def test_copytruncate(in_yard: Scene, logs: Path):
    path = logs / "a.log"

    async def scene(yard: Any, until: Any) -> None:
        tail(yard, path)
        append(path, "first of many words\n")
        await until(lambda: yard.texts == [b"first of many words"])
        os.truncate(path, 0)
        append(path, "2\n")
        await until(lambda: yard.texts[1:] == [b"2"])
        # Emptied and grown past the old offset before anybody looked: the first bytes tell.
        with path.open("r+b") as file:
            file.truncate(0)
            file.write(b"another beginning, and longer\n")
        await until(lambda: yard.texts[2:] == [b"another beginning, and longer"])

    in_yard(scene)


def test_nul_bytes_after_a_truncation_under_an_open_writer_are_left_out(in_yard: Scene, logs: Path):
    path = logs / "a.log"

    async def scene(yard: Any, until: Any) -> None:
        tail(yard, path)
        with path.open("wb", buffering=0) as writer:
            writer.write(b"before\n")
            await until(lambda: yard.texts == [b"before"])
            os.truncate(path, 0)
            await asyncio.sleep(0)
            writer.write(b"after\n")
            await until(lambda: yard.texts == [b"before", b"after"])

    in_yard(scene)


def test_a_deleted_file_is_read_to_its_end_and_its_position_forgotten(in_yard: Scene, logs: Path):
    path = logs / "a.log"

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, path)
        append(path, "1\n")
        await until(lambda: yard.texts == [b"1"])
        with path.open("ab", buffering=0) as writer:
            writer.write(b"last words without a line end")
            path.unlink()
            await until(lambda: yard.texts == [b"1", b"last words without a line end"])
        await until(lambda: state.files == {})
        assert state.state == "waiting for a file"
        append(path, "again\n")
        await until(lambda: yard.texts[2:] == [b"again"])

    in_yard(scene)


def test_folders_may_appear_later(in_yard: Scene, logs: Path):
    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, logs / "app" / "*" / "x.log")
        await until(lambda: state.idle)
        (logs / "app").mkdir()
        (logs / "app" / "one").mkdir()
        append(logs / "app" / "one" / "x.log", "1\n")
        await until(lambda: yard.texts == [b"1"])
        (logs / "app" / "two").mkdir()
        append(logs / "app" / "two" / "x.log", "2\n")
        await until(lambda: yard.texts == [b"1", b"2"])

    in_yard(scene)


def test_a_link_that_moves_on_is_followed(in_yard: Scene, logs: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, logs / "current")
        (logs / "current").symlink_to(elsewhere / "monday")  # dangling
        await until(lambda: state.idle)
        append(elsewhere / "monday", "m\n")
        await until(lambda: yard.texts == [b"m"])
        append(elsewhere / "tuesday", "t\n")
        (logs / "new").symlink_to(elsewhere / "tuesday")
        (logs / "new").rename(logs / "current")
        append(elsewhere / "monday", "late\n")
        await until(lambda: sorted(yard.texts) == [b"late", b"m", b"t"])

    in_yard(scene)


def test_what_cannot_be_read_is_said_once_and_read_as_soon_as_it_can(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    path.mkdir()  # for root, too, a folder is no file

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, path)
        await until(lambda: yard.said)
        assert state.state == f"unreadable: {path}: not a regular file"
        append(logs / "other", "noise\n")
        await until(lambda: state.idle)
        path.rmdir()
        append(path, "1\n")
        await until(lambda: yard.texts == [b"1"])
        assert yard.said == [f"source unreadable: {path}: not a regular file"]
        await until(lambda: state.state == "reading")

    in_yard(scene)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_is_tried_again_when_the_mode_changes(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    path.write_text("1\n")
    path.chmod(0)

    async def scene(yard: Any, until: Any) -> None:
        tail(yard, path)
        await until(lambda: yard.said == [f"source unreadable: {path}: permission denied"])
        path.chmod(0o600)
        await until(lambda: yard.texts == [b"1"])

    in_yard(scene)


def test_a_fifo_is_never_waited_for(in_yard: Scene, logs: Path):
    os.mkfifo(logs / "pipe.log")
    append(logs / "a.log", "1\n")

    async def scene(yard: Any, until: Any) -> None:
        tail(yard, logs / "*.log")
        await until(lambda: yard.texts == [b"1"])

    in_yard(scene)


def test_excluded_folders_are_not_read_even_through_a_link(in_yard: Scene, logs: Path, tmp_path: Path):
    ours = tmp_path / "ours"
    ours.mkdir()
    append(ours / "x.log", "our own\n")
    (logs / "link.log").symlink_to(ours / "x.log")
    append(logs / "a.log", "1\n")

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, logs / "*.log", exclude=(ours,))
        await until(lambda: yard.texts == [b"1"])
        await until(lambda: state.idle)
        assert yard.texts == [b"1"]

    in_yard(scene)


def test_a_name_that_is_not_utf_8(in_yard: Scene, logs: Path):
    path = os.fsencode(logs) + b"/\xff\\.log"
    Path(os.fsdecode(path)).write_bytes(b"1\n")

    async def first(yard: Any, until: Any) -> None:
        tail(yard, logs / "*.log")
        await until(lambda: yard.texts == [b"1"])
        assert yard.lines[0].location == f"{logs}/\\xff\\\\.log"

    async def second(yard: Any, until: Any) -> None:
        state = tail(yard, logs / "*.log")
        await until(lambda: state.idle)
        assert yard.texts == [b"1"]

    in_yard(first)
    in_yard(second)


def test_a_departed_file_is_let_go_after_its_silence(in_yard: Scene, logs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tail_module, "DEPARTED_S", 0.05)
    path = logs / "a.log"

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, path)
        append(path, "1\nno end")
        await until(lambda: yard.texts == [b"1"])
        path.rename(logs / "a.log.1")
        await until(lambda: state.files == {})
        assert yard.texts == [b"1", b"no end"]

    in_yard(scene)


def test_a_full_spool_stops_reading_and_room_starts_it_again(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    noise = os.urandom(600_000).hex().encode()
    wanted = [noise[start : start + 100] for start in range(0, len(noise), 100)]
    path.write_bytes(b"\n".join(wanted) + b"\n")

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, path)
        await until(lambda: yard.desk.stopped == "spool full")
        got = [line.text for line in yard.lines if line.kind == "log"]
        assert got == wanted[: len(got)]
        assert len(got) < len(wanted)
        assert state.lines - len(got) <= 8 * 512, "only a bounded number of lines is read ahead"
        assert [line.text for line in yard.lines if line.kind == "agent"] == [b"reading stopped: spool full"]
        collected = await drain(yard, until, len(wanted))
        assert collected == wanted
        assert yard.desk.stopped == ""

    in_yard(scene, max_bytes=200_000)


async def drain(yard: Any, until: Any, count: int) -> list[bytes]:
    """Take log lines out of the spool as a link would, until there are so many."""
    collected: list[bytes] = []
    next_seq = 1
    while len(collected) < count:
        batches = await yard.spool.request(Fetch(next_seq, 1))
        for batch in batches:
            collected += [line.text for line in unpack(batch.data, batch.count) if line.kind == "log"]
            next_seq = batch.first_seq + batch.count
            yard.desk.trimmed = batch.epoch, next_seq - 1
            yard.spool.wake()
        if not batches:
            await until(lambda seq=next_seq: yard.desk.next > seq)
    return collected


def test_files_rotated_away_while_the_spool_is_full_are_read_when_there_is_room(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    wanted = [os.urandom(100).hex().encode() for _ in range(8000)]

    async def scene(yard: Any, until: Any) -> None:
        state = tail(yard, path)
        append(path, b"\n".join(wanted[:5000]) + b"\n")
        await until(lambda: yard.desk.stopped == "spool full")
        for turn in range(3):
            path.rename(logs / f"a.log.{turn}")
            append(path, b"\n".join(wanted[5000 + 1000 * turn : 6000 + 1000 * turn]) + b"\n")
            await until(lambda turn=turn: len(state.files) == 2 + turn, "opening the new file while nothing is read")
        assert sorted(await drain(yard, until, len(wanted))) == sorted(wanted)

    in_yard(scene, max_bytes=200_000)


@pytest.mark.fault
def test_a_life_that_ends_in_the_middle_loses_and_doubles_nothing(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    wanted = [b"%d" % number for number in range(60_000)]
    path.write_bytes(b"\n".join(wanted) + b"\n")

    async def scene(yard: Any, until: Any) -> None:
        tail(yard, path)
        mailbox = yard.desk.routes[f"source {path}"]
        config, state = SourceConfig(path=str(path), from_="start"), SourceState(name="again")
        for life in range(1, 4):
            goal = 15_000 * life
            await until(lambda goal=goal: yard.desk.lines >= goal)
            mailbox.tell("nonsense")
            await until(lambda: yard.failures)
            assert "cannot handle str" in yard.failures.pop()
            arguments = (yard.spool, state, config, Excluded(()), SystemClock(), yard.said.append)
            FileTail.start(mailbox, *arguments)
        await until(lambda: yard.desk.lines >= len(wanted))
        await until(lambda: state.idle)
        assert yard.texts == wanted

    in_yard(scene)


@pytest.mark.fault
def test_without_inotify_instances_the_limit_is_named_and_the_agent_lives(
    in_yard: Scene, logs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tail_module, "RETRY_S", 0.05)
    append(logs / "a.log", "1\n")
    taken: list[inotify_simple.INotify] = []

    async def scene(yard: Any, until: Any) -> None:
        try:
            while True:
                taken.append(inotify_simple.INotify())
        except OSError:
            pass
        state = tail(yard, logs / "a.log")
        await until(lambda: yard.said)
        assert "fs.inotify.max_user_instances" in yard.said[0]
        assert state.state.startswith("unreadable")
        while taken:
            taken.pop().close()
        await until(lambda: yard.texts == [b"1"])
        assert state.state == "reading"

    if int(Path("/proc/sys/fs/inotify/max_user_instances").read_text()) > 900:
        pytest.skip("this machine has so many inotify instances that descriptors run out first")
    in_yard(scene)


@pytest.mark.slow
def test_fifty_thousand_lines_a_second_from_one_file(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    with path.open("w") as file:
        for number in range(100_000):
            file.write(
                f"Nov 24 03:21:42 web1 sshd[{number}]: Failed password for joe from 192.0.2.7 port {number} ssh2\n"
            )

    async def scene(yard: Any, until: Any) -> None:
        began = time.monotonic()
        state = tail(yard, path)
        await until(lambda: state.idle)
        assert state.lines == yard.desk.lines == 100_000
        assert time.monotonic() - began < 2.0

    in_yard(scene)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("{}/logs/a.log", {"{}/logs"}),
        ("{}/logs/*/a.log", {"{}/logs", "{}/logs/one", "{}/logs/two"}),
        ("{}/nowhere/at/all/a.log", {"{}"}),
        ("{}/link/a.log", {"{}", "{}/link"}),
    ],
)
def test_watch_points(tmp_path: Path, pattern: str, wanted: set[str]):
    for name in ("one", "two"):
        (tmp_path / "logs" / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "logs")
    assert watch_points(pattern.format(tmp_path)) == {point.format(tmp_path) for point in wanted}


def shaped(yard: Any, pattern: object, **keys: Any) -> Any:
    config = SourceConfig(path=str(pattern), from_="start", **keys)
    return yard.start(FileTail, f"source {pattern}", config, Excluded(()))


def test_an_event_of_several_lines_waits_for_its_end_or_for_silence(in_yard: Scene, logs: Path):
    path = logs / "app.log"
    multiline = Multiline(regex="^>", timeout_s=0.3)

    async def first(yard: Any, until: Any) -> None:
        state = shaped(yard, path, format="multi-line-regex", multiline=multiline)
        append(path, "> a\n  b\n")
        append(path, "> c\n")
        await until(lambda: yard.texts == [b"> a   b", b"> c"])
        await until(lambda: state.idle)
        append(path, "> d\n")
        await until(lambda: state.files[str(path)][1] == 4, "seen, and waiting")
        assert not state.idle

    async def second(yard: Any, until: Any) -> None:
        shaped(yard, path, format="multi-line-regex", multiline=multiline)
        await until(lambda: yard.texts == [b"> a   b", b"> c", b"> d   e"])

    in_yard(first)
    append(path, "  e\n")  # the event goes on while nobody reads: it must not have been cut
    in_yard(second)


def test_an_event_larger_than_a_chunk_comes_in_pieces(in_yard: Scene, logs: Path):
    path = logs / "app.log"
    append(path, "".join(f" {number:08}\n" for number in range(60_000)))

    async def scene(yard: Any, until: Any) -> None:
        shaped(yard, path, format="multi-line_indented")
        await until(lambda: b"".join(yard.texts).endswith(b"00059999"))
        assert [int(word) for text in yard.texts for word in text.split()] == list(range(60_000))

    in_yard(scene)


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_a_mark(in_yard: Scene, logs: Path, order: str):
    path = logs / "mssql.log"
    mark = "\ufeff".encode(order)
    path.touch()

    async def scene(yard: Any, until: Any) -> None:
        state = shaped(yard, path, encoding="utf-16")
        await until(lambda: state.idle)
        append(path, mark + "2026 Ċ\n".encode(order))  # its second byte is that of a newline
        await until(lambda: yard.texts == ["2026 Ċ".encode()])
        append(path, "zwei\r\n".encode(order)[:5])
        append(path, "zwei\r\n".encode(order)[5:])
        await until(lambda: yard.texts == ["2026 Ċ".encode(), b"zwei"])

    in_yard(scene)


def test_exclusion_filters_and_forms(in_yard: Scene, logs: Path):
    append(logs / "a.json", '{"n":1}\n{"n":2}\nnoise\n')
    append(logs / "b.json", '{"n":3}\n')

    async def scene(yard: Any, until: Any) -> None:
        keys: dict[str, Any] = {"exclude": ("*/b.*",), "restrict": ("n",), "ignore": ("noise",)}
        state = shaped(yard, logs / "*.json", format="json", labels={"app": "shop"}, out_format="x $(log)", **keys)
        await until(lambda: len(yard.texts) == 2)
        assert yard.texts == [b'x {"app": "shop","n":1}', b'x {"app": "shop","n":2}']
        await until(lambda: state.skipped == 1)

    in_yard(scene)


def test_an_old_file_is_left_alone_until_it_is_written(in_yard: Scene, logs: Path):
    path = logs / "a.log"
    append(path, "old\n")
    os.utime(path, (1, 1))

    async def scene(yard: Any, until: Any) -> None:
        state = shaped(yard, logs / "*.log", max_age_s=60)
        await until(lambda: state.idle)
        assert state.files == {}
        append(path, "new\n")
        await until(lambda: yard.texts == [b"old", b"new"])

    in_yard(scene)


def test_the_date_in_a_path_is_todays(in_yard: Scene, logs: Path):
    today = logs / f"app-{time.strftime('%Y-%m-%d')}.log"
    append(logs / "app-2001-01-01.log", "long ago\n")

    async def scene(yard: Any, until: Any) -> None:
        state = shaped(yard, logs / "app-%Y-%m-%d.log")
        await until(lambda: state.idle)
        append(today, "now\n")
        await until(lambda: yard.texts == [b"now"])

    in_yard(scene)
    assert dated("/x/%Y%%", 0) == f"/x/{time.strftime('%Y', time.localtime(0))}%"
    assert dated("/x/100", 0) == "/x/100"


def test_a_hundred_files_at_once_while_they_rotate(in_yard: Scene, logs: Path):
    wanted: list[bytes] = []

    def burst(turn: int) -> None:
        for number in range(100):
            lines = [b"%d %d %d" % (turn, number, each) for each in range(50)]
            append(logs / f"{number}.log", b"\n".join(lines) + b"\n")
            wanted.extend(lines)

    async def scene(yard: Any, until: Any) -> None:
        state = shaped(yard, logs / "*.log")
        await until(lambda: state.idle)
        for turn in range(4):
            burst(turn)
            await until(lambda: yard.desk.next > len(wanted), "all of this turn")
            for number in range(100):
                path = logs / f"{number}.log"
                if number % 3 == 0:
                    path.rename(logs / f"{number}.log.{turn}")
                elif number % 3 == 1:
                    path.write_bytes(b"")  # what copytruncate does after its copy
                else:
                    path.unlink()
        await until(lambda: len(yard.texts) >= len(wanted))
        assert sorted(yard.texts) == sorted(wanted)

    in_yard(scene)
