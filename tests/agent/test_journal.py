"""The journal, with a small program in journalctl's place that writes real export bytes; and with journalctl itself."""

import datetime as dt
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.agent import journal as journal_module
from hids.agent.config import SourceConfig
from hids.agent.journal import Filter, JournalReader, is_ours, to_line

Scene = Callable[..., None]
CONFIG = SourceConfig(path="journald", format="journal")
NOW_MS = 1_795_500_000_000


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function: puts a Python program in journalctl's place; its arguments go to a file, which is returned."""
    monkeypatch.setattr(journal_module, "FIRST_PAUSE_S", 0.05)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(body: str) -> Path:
        log = tmp_path / "arguments"
        program = folder / "journalctl"
        head = (
            f"#!{sys.executable} -S\nimport sys, struct, threading\n"
            f"open({str(log)!r}, 'a').write(repr(sys.argv[1:]) + chr(10))\n"
        )
        program.write_text(head + textwrap.dedent(ENTRY) + textwrap.dedent(body))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return log

    return install


ENTRY = """
out = sys.stdout.buffer
def entry(number, message):
    out.write(b"__CURSOR=s=abc;i=%d\\n__REALTIME_TIMESTAMP=%d\\n_HOSTNAME=web1\\nSYSLOG_IDENTIFIER=sshd\\n_PID=42\\n"
              % (number, 1795490502123456 + number * 1000000))
    out.write(b"MESSAGE\\n" + struct.pack("<Q", len(message)) + message + b"\\n\\n")
    out.flush()
"""
STAY = "threading.Event().wait()\n"


def test_entries_become_syslog_lines_and_the_cursor_is_kept(
    in_yard: Scene, journalctl: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TZ", "UTC")
    log = journalctl("for i in range(1000): entry(i, b'line %d\\nand more' % i)\n" + STAY)

    async def first(yard: Any, until: Any) -> None:
        state = yard.start(JournalReader, "journald", CONFIG)
        await until(lambda: yard.desk.lines == 1000 and state.idle)
        line = yard.lines[7]
        assert line.text.endswith(b" web1 sshd[42]: line 7 and more")
        assert (line.location, line.at_ms) == ("journald", 1795490509123)
        assert state.state == "reading"

    async def second(yard: Any, until: Any) -> None:
        yard.start(JournalReader, "journald", CONFIG)
        await until(lambda: log.read_text().count("\n") == 2)

    in_yard(first)
    in_yard(second)
    begin, resume = log.read_text().splitlines()
    assert "--lines=0" in begin
    assert "--after-cursor=s=abc;i=999" in resume


def test_from_start_asks_for_all(in_yard: Scene, journalctl: Callable[[str], Path]):
    log = journalctl("entry(1, b'x')\n" + STAY)

    async def scene(yard: Any, until: Any) -> None:
        config = SourceConfig(path="journald", format="journal", from_="start")
        yard.start(JournalReader, "journald", config)
        await until(lambda: yard.desk.lines == 1)

    in_yard(scene)
    assert "--no-tail" in log.read_text()


def test_a_journalctl_that_ends_is_started_again_behind_the_cursor(in_yard: Scene, journalctl: Callable[[str], Path]):
    log = journalctl(
        """
        begun = [a for a in sys.argv if a.startswith("--after-cursor=")]
        number = int(begun[0].rpartition("=")[2]) + 1 if begun else 0
        entry(number, b"number %d" % number)
        if number < 2:
            sys.exit(7)
        threading.Event().wait()
        """
    )

    async def scene(yard: Any, until: Any) -> None:
        state = yard.start(JournalReader, "journald", CONFIG)
        await until(lambda: yard.desk.lines == 3)
        assert [text.rpartition(b": ")[2] for text in yard.texts] == [b"number 0", b"number 1", b"number 2"]
        assert yard.said == ["source unreadable: journald: journalctl ended with status 7"] * 2
        await until(lambda: state.state == "reading")

    in_yard(scene)
    assert log.read_text().count("\n") == 3


def test_no_access_names_the_group_once(in_yard: Scene, journalctl: Callable[[str], Path]):
    log = journalctl(
        "sys.stderr.write('No journal files were opened due to insufficient permissions.\\n'); sys.exit(1)"
    )

    async def scene(yard: Any, until: Any) -> None:
        state = yard.start(JournalReader, "journald", CONFIG)
        await until(lambda: log.exists() and log.read_text().count("\n") > 2)
        assert len(yard.said) == 1
        assert "group systemd-journal" in yard.said[0]
        assert "group systemd-journal" in state.state

    in_yard(scene)


def test_no_journalctl_is_said_and_the_source_stays_off(
    in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))

    async def scene(yard: Any, until: Any) -> None:
        yard.start(JournalReader, "journald", CONFIG)
        await until(lambda: yard.said)
        assert "journalctl is not installed" in yard.said[0]

    in_yard(scene)


def test_nonsense_from_journalctl_is_a_trouble_not_a_crash(in_yard: Scene, journalctl: Callable[[str], Path]):
    journalctl("out.write(b'x' * 5_000_000); out.flush()\n" + STAY)

    async def scene(yard: Any, until: Any) -> None:
        yard.start(JournalReader, "journald", CONFIG)
        await until(lambda: yard.said)
        assert "without an end" in yard.said[0]

    in_yard(scene)


def test_stopping_ends_journalctl(in_yard: Scene, journalctl: Callable[[str], Path], tmp_path: Path):
    pid = tmp_path / "pid"
    journalctl(f"import os; open({str(pid)!r}, 'w').write(str(os.getpid())); entry(1, b'x')\n" + STAY)

    async def scene(yard: Any, until: Any) -> None:
        yard.start(JournalReader, "journald", CONFIG)
        await until(lambda: yard.desk.lines == 1)

    in_yard(scene)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_only_what_journald_itself_vouches_for_is_left_out_as_our_own():
    assert is_ours({b"_PID": b"%d" % os.getpid()})
    assert is_ours({b"_SYSTEMD_UNIT": b"hids-agent.service", b"_PID": b"1"})
    assert not is_ours({b"SYSLOG_IDENTIFIER": b"hids-agent", b"SYSLOG_PID": b"%d" % os.getpid(), b"_PID": b"1"})
    assert not is_ours({})


def test_an_identifier_cannot_forge_a_header():
    line = to_line({b"MESSAGE": b"m", b"SYSLOG_IDENTIFIER": b"hids:agent[1]: x", b"_HOSTNAME": b"a b"}, NOW_MS, dt.UTC)
    assert line is not None
    assert line.text == b"Nov 24 06:00:00 a_b hids_agent_1___x: m"
    assert line.at_ms == NOW_MS


fields = st.dictionaries(
    st.sampled_from([b"MESSAGE", b"__REALTIME_TIMESTAMP", b"SYSLOG_IDENTIFIER", b"_COMM", b"_PID", b"_HOSTNAME"]),
    st.binary(max_size=50) | st.integers(0, 10**20).map(lambda number: b"%d" % number),
)


@settings(deadline=None)
@given(entry=fields)
def test_any_entry_is_one_line_or_none(entry: dict[bytes, bytes]):
    line = to_line(entry, NOW_MS, dt.UTC)
    assert (line is None) == (not entry.get(b"MESSAGE"))
    if line is not None:
        assert b"\n" not in line.text
        assert line.at_ms >= 0


def test_entries_are_taken_by_their_fields(in_yard: Scene, journalctl: Callable[[str], Path]):
    journalctl("for i in range(4): entry(i, b'line %d' % i)\n" + STAY)
    tables = ({"SYSLOG_IDENTIFIER": "^sshd$", "MESSAGE": "[13]$"}, {"_UID": "."})
    config = SourceConfig(path="journald", format="journal", filter=tables, ignore=("line 3",))

    async def scene(yard: Any, until: Any) -> None:
        state = yard.start(JournalReader, "journald", config)
        await until(lambda: state.idle and state.skipped == 3)
        await until(lambda: len(yard.lines) == 1)
        assert yard.texts[0].endswith(b"line 1")

    in_yard(scene)


def test_a_filter_takes_what_matches_all_fields_of_a_table():
    entry = {b"A": b"1", b"B": b"2"}
    assert Filter(()).takes(entry)
    assert Filter([{"A": "1", "B": "2"}]).takes(entry)
    assert Filter([{"A": "9"}, {"B": "2"}]).takes(entry)
    assert not Filter([{"A": "1", "C": ""}]).takes(entry)


REMOTE = Path("/lib/systemd/systemd-journal-remote")
MACHINE, OTHER_MACHINE = "a" * 32, "f" * 32


class RealJournal:
    """Journal files that systemd's own program writes, and a journalctl that reads them."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder = folder
        self.seconds = 0
        folder.mkdir()
        bin_folder.mkdir()
        real = shutil.which("journalctl")
        assert real is not None
        program = bin_folder / "journalctl"
        program.write_text(f'#!/bin/sh\nexec {real} --directory={folder} "$@"\n')
        program.chmod(0o755)

    def write(self, *messages: str, boot: str, machine: str = MACHINE, file: str = "system.journal") -> None:
        """Append entries."""
        text = ""
        for message in messages:
            self.seconds += 1
            text += (
                f"__REALTIME_TIMESTAMP={(NOW_MS + self.seconds * 1000) * 1000}\n__MONOTONIC_TIMESTAMP={self.seconds}000000\n"
                f"_BOOT_ID={boot * 32}\n_MACHINE_ID={machine}\n_HOSTNAME=web1\nSYSLOG_IDENTIFIER=app\nMESSAGE={message}\n\n"
            )
        arguments = (REMOTE, "--output", self.folder / file, "-")
        subprocess.run(arguments, input=text.encode(), check=True, capture_output=True, timeout=30)


@pytest.mark.skipif(
    shutil.which("journalctl") is None or not REMOTE.exists(), reason="needs journalctl and systemd-journal-remote"
)
def test_the_real_journalctl_tells_what_was_written_before_a_reboot(
    in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal_module, "system_id", lambda: MACHINE)
    journal = RealJournal(tmp_path / "journal", tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    config = SourceConfig(path="journald", format="journal", from_="start")
    journal.write("first", boot="1")

    async def before(yard: Any, until: Any) -> None:
        yard.start(JournalReader, "journald", config)
        await until(lambda: yard.desk.lines == 1)

    in_yard(before)
    journal.write("while the agent was down", "at the shutdown", boot="1", file="system@1.journal")
    journal.write("of another machine", boot="2", machine=OTHER_MACHINE, file="remote.journal")
    journal.write("at the start", boot="2", file="system@2.journal")

    async def after(yard: Any, until: Any) -> None:
        yard.start(JournalReader, "journald", config)
        await until(lambda: yard.desk.lines == 4)
        journal.write("later", boot="2", file="system@3.journal")
        await until(lambda: yard.desk.lines == 5)
        texts = [line.text.rpartition(b": ")[2] for line in yard.lines]
        assert texts == [b"first", b"while the agent was down", b"at the shutdown", b"at the start", b"later"]

    in_yard(after)
