import json
import lzma
from pathlib import Path

import pytest

from tools import bench_engine

LINES = [
    f"Nov 24 03:21:42 web1 sshd[{n}]: Failed password for invalid user u{n} from 192.0.2.7 port {n} ssh2"
    if n % 3 == 0
    else f"Nov 24 03:21:42 web1 CRON[{n}]: (root) CMD (job {n})"
    for n in range(1000)
]


def test_every_line_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HIDS_BENCH", raising=False)
    load = tmp_path / "load.log.xz"
    load.write_bytes(lzma.compress("\n".join(LINES).encode()))
    (tmp_path / "load.loc.xz").write_bytes(lzma.compress(b"\n".join([b"/var/log/auth.log"] * len(LINES))))
    assert bench_engine.main(["--ruleset", "own", "--load", str(load), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["lines"] == 1000
    assert 200 < told["alerts"] <= 334, "some are silent: the ignore time of composites runs"
    assert told["cpu_s_per_million"] > 0
    assert sum(told["phases"].values()) == pytest.approx(told["cpu_s_per_million"], abs=0.01)


def test_without_data_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("HIDS_BENCH", raising=False)
    assert bench_engine.main(["--ruleset", "own"]) == 2
    assert "HIDS_BENCH is not set" in capsys.readouterr().err
