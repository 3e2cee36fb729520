"""Whoever changes the past is found out: by seals, by signatures, and, if he owns the machine, by anchors."""

import base64
import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed import Bench, put_away

import hids.adapters.evidence.verify as verify_module
from hids.adapters.believed import BelievedClock
from hids.adapters.evidence.anchors import Anchoring, CommandAnchor, FileAnchor, export
from hids.adapters.evidence.heads import Heads, read_heads
from hids.adapters.evidence.key import EvidenceKey, is_signed, public_key
from hids.adapters.evidence.verify import RETIRED, Part
from hids.adapters.retention import FileRetention
from hids.adapters.rotated import rotated
from hids.core.evidence import GENESIS, Begin, Seal, begin_line, marks_of, read_chain, seal_line, split
from hids.core.retention import Limit
from hids.errors import StoreError


@pytest.fixture
def bench(tmp_path: Path, make_lines: Callable[..., bytes]) -> Bench:
    return Bench(tmp_path, make_lines)


@pytest.fixture
def three_days(bench: Bench) -> Bench:
    put_away(bench, 3)
    return bench


def anchor(bench: Bench) -> Path:
    path = bench.alerts.parent / "vault"
    Anchoring(FileAnchor(path), bench.evidence, [bench.path], bench.alerts.parent / "cursor").run()
    return path


def forge(bench: Bench, old: bytes, new: bytes, *, of: int = 0) -> Path:
    """What root can do: change a record, seal all that follows anew, and sign that with the manager's key."""
    data = rotated(bench.path)[of].path
    data.write_bytes(data.read_bytes().replace(old, new, 1))
    files = [(one.path, one.chain) for one in rotated(bench.path)]
    files.append((bench.path, bench.path.with_name("alerts.json.chain")))
    values: dict[int, str] = {}
    value = GENESIS
    for content, chain in files:
        lines: list[bytes] = []
        for read in read_chain(chain.read_bytes().splitlines()):
            if isinstance(read, Begin):
                lines.append(begin_line(msgspec.structs.replace(read, chain=value)))
            else:
                line, value = seal_line(sealed_anew(read.seal, content.read_bytes()), value)
                values[read.seal.n] = value
                lines.append(line)
        chain.write_bytes(b"".join(lines))
    path = bench.evidence / "alerts.json.heads"
    heads = [head for head, *_ in read_heads(path)]
    path.unlink()
    register = Heads(path, bench.key)
    for head in heads:
        register.add(msgspec.structs.replace(head, chain=values[head.n]))
    return data


def sealed_anew(seal: Seal, content: bytes) -> Seal:
    piece = content[seal.start : seal.end]
    marks = base64.b64encode(marks_of(split(piece, b"\n"))).decode()
    return msgspec.structs.replace(seal, sha256=hashlib.sha256(piece).hexdigest(), marks=marks)


def test_what_was_not_touched_is_as_it_was_written(three_days: Bench):
    verdict = three_days.verify(anchors=[anchor(three_days)])
    assert (verdict.problems, verdict.files, verdict.records, verdict.seals) == ((), 3, 12, 6)
    assert (verdict.heads, verdict.anchored) == (5, 7)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_changed_byte_names_its_record(
    tmp_path_factory: pytest.TempPathFactory, make_lines: Callable[..., bytes], data: st.DataObject
):
    bench = Bench(tmp_path_factory.mktemp("byte"), make_lines)
    with bench.path.open("wb") as file:
        file.write(make_lines(1, 9))
    bench.open().close()
    content = bench.path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    bench.path.write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
    (problem,) = bench.verify().problems
    line = content[:place].count(b"\n") + 1
    assert (problem.line, problem.alert, problem.file) == (line, line, str(bench.path))


@pytest.mark.parametrize("packed", [False, True])
def test_the_text_form_and_packed_files_are_checked_too(
    tmp_path: Path, make_lines: Callable[..., bytes], *, packed: bool
):
    bench = Bench(tmp_path, make_lines, "alerts.log")
    put_away(bench, 2)
    data = rotated(bench.path)[0].path
    altered = data.read_bytes().replace(b"User: joe", b"User: eve", 3)
    if packed:
        data.with_name(data.name + ".gz").write_bytes(gzip.compress(altered))
        data.unlink()
    else:
        data.write_bytes(altered)
    (problem,) = bench.verify().problems
    assert (problem.line, problem.alert, problem.what) == (1, 1, "this record was altered")


def test_a_packed_file_that_is_broken_is_named(three_days: Bench):
    data = rotated(three_days.path)[0].path
    data.with_name(data.name + ".gz").write_bytes(gzip.compress(data.read_bytes())[:-20])
    data.unlink()
    assert [
        "cannot be unpacked" in problem.what or "gone" in problem.what for problem in three_days.verify().problems
    ] == [True]


def test_a_record_that_was_added_or_taken_out_is_named(three_days: Bench):
    data = rotated(three_days.path)[1].path
    content = data.read_bytes()
    first, second, *rest = content.splitlines(keepends=True)
    data.write_bytes(first + b"".join(rest))
    (problem,) = three_days.verify().problems
    assert (problem.line, problem.alert, problem.file) == (2, 6, str(data))
    data.write_bytes(first + second.replace(b"joe", b"eve") + second + b"".join(rest))
    (problem,) = three_days.verify().problems
    assert (problem.line, problem.alert) == (2, 6)
    data.write_bytes(content + first)
    (problem,) = three_days.verify().problems
    assert problem.what == f"{len(first)} bytes were added behind what is sealed"


def test_files_that_are_gone_with_or_without_their_seals_are_named(three_days: Bench):
    old = rotated(three_days.path)[1]
    old.path.unlink()
    (problem,) = three_days.verify().problems
    assert problem.what == "the file is gone; its seals are 3 to 4"
    old.chain.unlink()
    (problem,) = three_days.verify().problems
    assert "goes on from seal 4, but what is there before it ends with seal 2" in problem.what


def test_what_was_written_last_and_removed_is_known_from_the_signed_heads(three_days: Bench):
    path = three_days.path.with_name("alerts.json.chain")
    kept = path.read_bytes().splitlines(keepends=True)[:-1]
    path.write_bytes(b"".join(kept))
    three_days.path.write_bytes(b"".join(three_days.path.read_bytes().splitlines(keepends=True)[:2]))
    (problem,) = three_days.verify().problems
    assert "ends with seal 5, but seal 6, up to alert 12, was signed at" in problem.what


def test_an_altered_seal_is_named(three_days: Bench):
    chain = rotated(three_days.path)[0].chain
    chain.write_bytes(chain.read_bytes().replace(b'"records":2', b'"records":3', 1))
    assert ["the seals were altered: line 2" in problem.what for problem in three_days.verify().problems] == [True]


def test_sealed_anew_without_the_key_is_found_by_the_signatures(three_days: Bench, tmp_path: Path):
    other = EvidenceKey.open_or_create(tmp_path / "other")
    mine, three_days.key = three_days.key, other
    data = forge(three_days, b"joe", b"eve")
    three_days.key = mine
    problems = three_days.verify().problems
    assert all("is not of this key" in problem.what for problem in problems)
    assert len(problems) == 5
    assert data.exists()


def test_root_who_seals_and_signs_anew_is_found_by_an_anchor_which_names_the_record(three_days: Bench):
    vault = anchor(three_days)
    data = forge(three_days, b"sshd[3]", b"sshd[8]")
    assert three_days.verify().problems == ()
    (problem,) = three_days.verify(anchors=[vault]).problems
    assert (problem.file, problem.line, problem.alert) == (str(data), 3, 3)
    assert "this record was altered, and its seals with it" in problem.what


def test_heads_alone_as_mailed_find_root_too(three_days: Bench, tmp_path: Path):
    mail = tmp_path / "mail"
    command = CommandAnchor(["/usr/bin/tee", "-a", str(mail)])
    Anchoring(command, three_days.evidence, [three_days.path], tmp_path / "mail.cursor").run()
    assert three_days.verify(anchors=[mail]).problems == ()
    data = forge(three_days, b"joe", b"eve", of=1)
    (problem,) = three_days.verify(anchors=[mail]).problems
    assert problem.file == str(data)
    assert "was altered before" in problem.what


def test_root_who_removes_the_newest_is_found_by_an_anchor(three_days: Bench):
    vault = anchor(three_days)
    three_days.path.unlink()
    three_days.path.with_name("alerts.json.chain").unlink()
    (three_days.evidence / "alerts.json.heads").unlink()
    assert three_days.verify().problems == ()
    (problem,) = three_days.verify(anchors=[vault]).problems
    assert "what was written last was removed" in problem.what


def test_anchors_get_each_line_once_and_again_when_they_refused(three_days: Bench, tmp_path: Path):
    vault = tmp_path / "away" / "vault"
    anchoring = Anchoring(FileAnchor(vault), three_days.evidence, [three_days.path], tmp_path / "cursor")
    with pytest.raises(StoreError, match="cannot add to this anchor"):
        anchoring.run()
    vault.parent.mkdir()
    anchoring.run()
    once = vault.read_bytes()
    anchoring.run()
    assert vault.read_bytes() == once == b"".join(export(three_days.evidence, [three_days.path]))
    put_away(three_days, 1)
    anchoring.run()
    assert vault.read_bytes().startswith(once)
    assert three_days.verify(anchors=[vault]).problems == ()


@pytest.mark.fault
@given(cut=st.integers(0, 3000))
@settings(max_examples=30, deadline=None)
def test_an_anchor_that_was_torn_gets_it_again(
    tmp_path_factory: pytest.TempPathFactory, make_lines: Callable[..., bytes], cut: int
):
    bench = Bench(tmp_path_factory.mktemp("torn"), make_lines)
    put_away(bench, 2)
    vault = anchor(bench)
    vault.write_bytes(vault.read_bytes()[:cut])
    (bench.alerts.parent / "cursor").unlink()
    anchor(bench)
    verdict = bench.verify(anchors=[vault])
    assert (verdict.problems, verdict.anchored >= 4) == ((), True)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("chattr") is None, reason="an append-only file needs root and chattr"
)
def test_an_anchor_may_be_append_only(three_days: Bench):
    vault = three_days.alerts.parent / "vault"
    vault.touch()
    argv = [str(shutil.which("chattr")), "+a", str(vault)]
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no append-only files")
    try:
        anchor(three_days)
        put_away(three_days, 1)
        anchor(three_days)
        assert three_days.verify(anchors=[vault]).problems == ()
    finally:
        subprocess.run([argv[0], "-a", str(vault)], check=True)


def test_a_command_that_fails_is_told(three_days: Bench, tmp_path: Path):
    for argv, words in ((["/bin/false"], "ended with status 1"), (["/no/such"], "cannot be run")):
        anchoring = Anchoring(CommandAnchor(argv), three_days.evidence, [three_days.path], tmp_path / "cursor")
        with pytest.raises(StoreError, match=words):
            anchoring.run()


# -- retention -------------------------------------------------------------------------------------------------------


def keep(bench: Bench, limit: Limit, *, compress: bool = True) -> list[str]:
    retired = Heads(bench.evidence / RETIRED, bench.key)
    return FileRetention([bench.path], retired, bench.clock, limit, compress=compress).run()


def test_what_was_put_away_is_compressed_and_still_read_and_verified(three_days: Bench):
    assert keep(three_days, Limit()) == []
    assert [old.there and old.there.suffix for old in rotated(three_days.path)] == [".gz", ".gz"]
    assert three_days.numbers() == list(range(1, 13))
    assert three_days.verify().problems == ()


def test_a_file_that_is_compressed_while_it_is_verified_is_not_gone(three_days: Bench, monkeypatch: pytest.MonkeyPatch):
    listed = verify_module.parts_of

    def then_compressed(stream: Path) -> list[Part]:
        parts = listed(stream)
        keep(three_days, Limit())
        return parts

    monkeypatch.setattr(verify_module, "parts_of", then_compressed)
    assert three_days.verify().problems == ()
    assert rotated(three_days.path)[0].packed.exists()


@pytest.mark.fault
def test_a_kill_while_compressing_leaves_one_of_both(three_days: Bench):
    old = rotated(three_days.path)[0]
    content = old.path.read_bytes()
    old.packed.with_name(old.packed.name + ".part").write_bytes(b"half")
    keep(three_days, Limit())
    old.path.write_bytes(content)  # as when it died before it removed what it had packed
    keep(three_days, Limit())
    assert not old.path.exists()
    assert three_days.numbers() == list(range(1, 13))


def test_the_oldest_go_first_by_age_and_are_said_and_signed(three_days: Bench):
    names = [str(old.path.relative_to(three_days.alerts)) for old in rotated(three_days.path)]
    assert keep(three_days, Limit(days=1)) == [f"records removed: {names[0]}: older than 1 days"]
    assert three_days.numbers() == list(range(5, 13))
    assert three_days.verify().problems == ()
    three_days.next_day()
    assert keep(three_days, Limit(days=1)) == [f"records removed: {names[1]}: older than 1 days"]
    assert three_days.verify().problems == ()


def test_a_clock_that_is_a_year_ahead_removes_nothing(three_days: Bench, tmp_path: Path):
    clock = BelievedClock(three_days.clock, tmp_path)
    retired = Heads(three_days.evidence / RETIRED, three_days.key)
    retention = FileRetention([three_days.path], retired, clock, Limit(days=30), compress=True)
    three_days.clock.ms += 365 * 86_400_000
    assert retention.run() == []
    assert three_days.numbers() == list(range(1, 13))
    for _ in range(24):
        three_days.clock.advance(3600)
        retention.run()
    assert three_days.numbers() == list(range(9, 13))  # it lasts: it is the clock


def test_the_oldest_go_first_by_size(three_days: Bench):
    sizes = [old.path.stat().st_size + old.chain.stat().st_size for old in rotated(three_days.path)]
    limit = Limit(max_bytes=sum(sizes) - 1 + three_days.path.stat().st_size)
    (said,) = keep(three_days, limit, compress=False)
    assert said.endswith("more than 0 MiB")
    assert three_days.numbers() == list(range(5, 13))


def test_an_altered_file_is_said_once_and_left_as_it_is(three_days: Bench):
    old = rotated(three_days.path)[0]
    old.path.write_bytes(old.path.read_bytes().replace(b"joe", b"eve", 1))
    retention = FileRetention(
        [three_days.path],
        Heads(three_days.evidence / RETIRED, three_days.key),
        three_days.clock,
        Limit(),
        compress=True,
    )
    assert retention.run() == [f"records altered: {old.path}:1: alert 1: this record was altered"]
    assert retention.run() == []
    assert old.path.exists()


def test_the_key_is_for_nobody_else(three_days: Bench):
    key = three_days.evidence / "key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    public = public_key(three_days.evidence)
    assert public == three_days.key.public
    assert public is not None
    assert is_signed(public, b"head", three_days.key.sign(b"head"))
    assert not is_signed(public, b"head", three_days.key.sign(b"tail"))
    key.chmod(0o644)
    with pytest.raises(StoreError, match="others may open it"):
        EvidenceKey.open_or_create(three_days.evidence)
