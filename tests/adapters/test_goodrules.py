"""The rules that were good last: kept whole, for the same rulesets only, and no reason to fail."""

from pathlib import Path

import pytest

from hids.adapters.goodrules import GoodRules, RulesRead
from hids.core.rules.rule import SourceFile

READ = (RulesRead((SourceFile("/etc/hids/rules/1.xml", b"<group/>"),), {"lists/a": b"x:y\n"}),)


def test_what_is_kept_comes_back_for_the_same_rulesets(tmp_path: Path):
    good = GoodRules(tmp_path / "rules.good")
    assert good.load(b"mine") is None
    good.save(b"mine", READ)
    assert good.load(b"mine") == READ
    assert good.load(b"others") is None


def test_the_same_again_is_not_written(tmp_path: Path):
    path = tmp_path / "rules.good"
    GoodRules(path).save(b"mine", READ)
    inode = path.stat().st_ino
    GoodRules(path).save(b"mine", READ)
    assert path.stat().st_ino == inode
    GoodRules(path).save(b"mine", ())
    assert path.stat().st_ino != inode


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"rules"])
def test_a_damaged_file_is_as_none(tmp_path: Path, data: bytes):
    path = tmp_path / "rules.good"
    path.write_bytes(data)
    assert GoodRules(path).load(b"mine") is None


def test_a_disk_that_refuses_is_no_reason_to_fail(tmp_path: Path):
    GoodRules(tmp_path / "no" / "rules.good").save(b"mine", READ)
