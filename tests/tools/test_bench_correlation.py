"""The bench's situations, small: each attacker is told exactly once. Counts only; time is for the bench."""

import json
import os

import pytest

from tools import bench_correlation

SMALL = ("logins 0", "logins 9000", "others 130", "others 200", "together 10", "together 60", "turns", "keys 3000")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert bench_correlation.main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_with_our_rules(capsys: pytest.CaptureFixture[str]) -> None:
    names = [word for name in SMALL for word in ("--situation", name)]
    for told in run(capsys, "--ruleset", "own", "--window-mib", "1", *names):
        assert (told["alerts"], told["exact"]) == (told["attackers"], True), told["situation"]


def test_with_ossecs_rules(capsys: pytest.CaptureFixture[str]) -> None:
    if not os.environ.get("HIDS_CONFORMANCE"):
        pytest.skip("HIDS_CONFORMANCE is not set to the folder of the conformance data")
    names = [word for name in SMALL if name != "logins 0" for word in ("--situation", name)]
    for told in run(capsys, *names):
        assert (told["alerts"], told["exact"]) == (told["attackers"], True), told["situation"]


def test_wrong_usage_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_correlation.main(["--ruleset", "own", "--situation", "storm"]) == 2
    assert "no situation 'storm'" in capsys.readouterr().err
    monkeypatch.delenv("HIDS_CONFORMANCE", raising=False)
    assert bench_correlation.main([]) == 2
    assert "HIDS_CONFORMANCE is not set" in capsys.readouterr().err
