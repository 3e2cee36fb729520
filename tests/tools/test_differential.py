"""The differential tool finds what differs, and nothing on our own rules."""

import lzma
from pathlib import Path

import differential
import msgspec
import pytest

from hids.core.rules.walk import Verdict

LINES = (
    b"Nov 24 03:21:42 web1 sshd[712]: Failed password for invalid user x from 192.0.2.7 port 4022 ssh2",
    b"Nov 24 03:21:42 web1 CRON[1]: (root) CMD (x)",
    b"\xff\xfe\x00",
    b"",
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "x.log.xz"
    path.write_bytes(lzma.compress(b"\n".join(LINES) + b"\n"))
    return path


def test_our_own_rules_agree(log: Path, capsys: pytest.CaptureFixture[str]):
    assert differential.main([str(log)]) == 0
    assert f"{len(LINES)} lines, 0 differ" in capsys.readouterr().out


def test_a_difference_is_found_and_ends_with_1(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    honest = differential.judge

    def lying(*arguments: object) -> Verdict | None:
        verdict = honest(*arguments)  # type: ignore[arg-type]
        return None if verdict is None else msgspec.structs.replace(verdict, slots=(*verdict.slots, b"x"))

    monkeypatch.setattr(differential, "judge", lying)
    assert differential.main([str(log)]) == 1
    assert "slots" in capsys.readouterr().out


def test_wrong_usage_is_said(tmp_path: Path):
    assert differential.main([str(tmp_path / "none.log")]) == differential.USAGE
