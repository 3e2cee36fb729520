from pathlib import Path

from waiting import SetClock

from hids.adapters.shared_files import LOOK_S, RESTART_COMMANDS, SharedFiles
from hids.core.wire.ossec.files import md5_of, split_merged


def test_all_get_the_folder_and_a_group_its_own_besides(tmp_path: Path):
    (tmp_path / "agent.conf").write_text("for all\r\n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "agent.conf").write_text("for web\n")
    shared = SharedFiles(tmp_path, SetClock())
    sum_, merged = shared("")
    assert sum_ == md5_of(merged)
    assert split_merged(merged) == {"agent.conf": b"for all\n", "ar.conf": RESTART_COMMANDS}
    assert split_merged(shared("web")[1])["agent.conf"] == b"for web\n"
    assert shared("../web") == shared("nobody") == shared("")


def test_changes_are_seen_but_not_looked_for_all_the_time(tmp_path: Path):
    (tmp_path / "agent.conf").write_text("one")
    clock = SetClock()
    shared = SharedFiles(tmp_path, clock)
    first = shared("")
    (tmp_path / "agent.conf").write_text("other")
    assert shared("") == first
    clock.advance(LOOK_S)
    assert shared("") != first


def test_the_commands_of_the_operator_come_after_ours(tmp_path: Path):
    (tmp_path / "ar.conf").write_text("firewall-drop600 - firewall-drop.sh - 600\n")
    assert split_merged(SharedFiles(tmp_path, SetClock())("")[1])["ar.conf"].endswith(b"firewall-drop.sh - 600\n")


def test_what_cannot_be_sent_is_not(tmp_path: Path):
    (tmp_path / "binary").write_bytes(b"a\0b")
    assert SharedFiles(tmp_path, SetClock())("") == ("", b"")


def test_without_a_folder_agents_can_still_be_restarted(tmp_path: Path):
    merged = SharedFiles(tmp_path / "none", SetClock())("")[1]
    assert split_merged(merged) == {"ar.conf": RESTART_COMMANDS}
