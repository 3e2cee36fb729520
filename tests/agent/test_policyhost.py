"""This host as policies look at it: real files, directories, processes and commands."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hids.agent import policyhost
from hids.agent.policyhost import LocalHost
from hids.core.policy.host import Unavailable


@pytest.fixture
def host() -> LocalHost:
    return LocalHost(timeout_s=20)


def why(look: object) -> str:
    assert callable(look)
    with pytest.raises(Unavailable) as caught:
        look()
    return str(caught.value)


def test_files_and_directories(host: LocalHost, tmp_path: Path):
    file = tmp_path / "a"
    file.write_bytes(b"one\r\ntwo\n\nthree")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    assert host.is_file(str(file))
    assert host.is_file(str(tmp_path / "link"))
    assert not host.is_file(str(tmp_path))
    assert not host.is_file(str(tmp_path / "broken"))
    assert not host.is_file(str(file / "below"))
    assert host.is_directory(str(tmp_path))
    assert not host.is_directory(str(file))
    assert not host.is_directory(str(tmp_path / "nothing"))
    assert list(host.lines(str(file))) == [b"one", b"two", b"", b"three"]


def test_an_empty_file_has_no_lines(host: LocalHost, tmp_path: Path):
    (tmp_path / "empty").touch()
    assert list(host.lines(str(tmp_path / "empty"))) == []


def test_the_kernels_files_can_be_read(host: LocalHost):
    assert list(host.lines("/proc/sys/kernel/ostype")) == [b"Linux"]


@pytest.mark.parametrize("path", ["/etc/passwd\0", "/proc/self/mem", "/x" * 5_000])
def test_odd_paths_are_no_reason_to_fall_over(host: LocalHost, path: str):
    assert why(lambda: host.lines(path)).startswith(path)
    with pytest.raises(Unavailable):
        host.lines(path)


def test_what_would_make_a_reader_wait_is_not_read(host: LocalHost, tmp_path: Path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert why(lambda: host.lines(str(fifo))) == f"{fifo}: not a regular file"
    assert why(lambda: host.lines(str(tmp_path))) == f"{tmp_path}: Is a directory"
    assert why(lambda: host.lines("/dev/zero")) == "/dev/zero: not a regular file"
    assert why(lambda: host.lines(str(tmp_path / "no"))) == f"{tmp_path / 'no'}: No such file or directory"


def test_a_large_file_is_not_read(host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(policyhost, "MAX_FILE", 1_000)
    (tmp_path / "big").write_bytes(b"x" * 1_001)
    assert "larger than 1000 bytes" in why(lambda: host.lines(str(tmp_path / "big")))


def test_a_directory_is_looked_through_but_its_links_are_not_followed(host: LocalHost, tmp_path: Path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (tmp_path / "top").touch()
    (tmp_path / "to-file").symlink_to(deep / "file")
    (deep / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    found = dict(host.files_below(str(tmp_path)))
    assert found == {"file": str(deep / "file"), "top": str(tmp_path / "top"), "to-file": str(tmp_path / "to-file")}


def test_a_directory_without_end_is_given_up(host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(policyhost, "MAX_ENTRIES", 3)
    for name in "abcde":
        (tmp_path / name).touch()
    assert "more than 3 files" in why(lambda: list(host.files_below(str(tmp_path))))
    assert why(lambda: list(host.files_below("/no/such"))) == "/no/such: No such file or directory"


def test_network_file_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    def mounts(**_: object) -> list[object]:
        part = type("Part", (), {"mountpoint": "/mnt/far", "fstype": "nfs4"})
        return [part, type("Part", (), {"mountpoint": "/", "fstype": "ext4"})]

    monkeypatch.setattr(psutil, "disk_partitions", mounts)
    host = LocalHost(timeout_s=1)
    assert why(lambda: host.is_file("/mnt/far/x")) == "/mnt/far/x: on the network file system /mnt/far"
    assert not host.is_file("/mnt/farther")
    assert not LocalHost(timeout_s=1, skip_network=False).is_file("/mnt/far/x")


def test_processes_have_names_and_programs(host: LocalHost):
    names = host.processes()
    assert os.path.realpath(sys.executable) in names
    assert psutil.Process().name() in names


def test_commands_are_words_and_errors_are_output(host: LocalHost):
    assert host.output("printf 'a b\\nc\\n'") == [b"a b", b"c"]
    assert host.output("echo a | cat") == [b"a | cat"]
    assert host.output('sh -c "echo a | tr a b; echo e >&2; exit 3"') == [b"b", b"e"]
    assert host.output("true") == [b""]
    assert host.output("pwd") == [b"/"]


def test_commands_see_little_of_this_process(host: LocalHost, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "x")
    assert sorted(line.partition(b"=")[0] for line in host.output("env")) == [b"HOME", b"LC_ALL", b"PATH", b"TERM"]


def test_a_command_that_was_asked_before_is_not_run_again(host: LocalHost, tmp_path: Path):
    tally = tmp_path / "tally"
    command = f'sh -c "echo x >> {tally}; cat {tally}"'
    assert host.output(command) == host.output(command) == [b"x"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/no/such/program", "cannot be run: No such file or directory"),
        ("/etc/passwd", "cannot be run: Permission denied"),
        ("echo 'x", "cannot be run: No closing quotation"),
        ("sh -c nosuchprogram", "exit status 127: no such command, or it may not be run"),
        ("sh -c 'kill -9 $$'", "ended by SIGKILL"),
        ("a\0b", "cannot be run: embedded null byte"),
    ],
)
def test_what_cannot_be_run_is_told(host: LocalHost, command: str, reason: str):
    assert why(lambda: host.output(command)) == f"{command}: {reason}"
    assert why(lambda: host.output(command)) == f"{command}: {reason}"  # remembered, too


def test_commands_can_be_switched_off():
    host = LocalHost(timeout_s=1, refusal="not here")
    assert why(lambda: host.output("true")) == "true: not here"


def test_what_hangs_or_floods_is_ended_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch):
    host = LocalHost(timeout_s=0.3)
    assert "took more than 0.3 s" in why(lambda: host.output("sh -c 'sleep 87654 & wait'"))
    monkeypatch.setattr(policyhost, "MAX_OUTPUT", 10_000)
    assert "printed more than 10000 bytes" in why(lambda: LocalHost(timeout_s=20).output("yes"))
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] in (["sleep", "87654"], ["yes"])]
    assert not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]


def test_there_is_no_registry(host: LocalHost):
    assert why(lambda: host.registry("HKLM")) == "HKLM: this host has no registry"


def test_nothing_here_uses_a_shell():
    source = Path(policyhost.__file__).read_text(encoding="utf-8")
    assert "shell=True" not in source
    assert subprocess.__name__ in source
