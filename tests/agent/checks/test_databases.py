"""Databases from disk: ours, named ones, broken ones and those that are not there."""

from pathlib import Path

from hids.agent.checks.databases import load
from hids.agent.config import RootcheckConfig


def test_ours_come_with_the_product():
    read = load(RootcheckConfig())
    assert read.files
    assert read.trojans
    assert read.problems == ()
    assert load(RootcheckConfig(signatures=False)) == ((), (), (), ())


def test_named_ones_with_what_is_wrong_in_them(tmp_path: Path):
    for name, text in (("f", "x ! y ::\nbroken\n"), ("t", "ls !a!\nls !(!\n"), ("s", "[n] [any] []\nf:/x;\ng:/y;\n")):
        (tmp_path / name).write_text(text)
    config = RootcheckConfig(
        signatures=False,
        rootkit_files=(str(tmp_path / "f"),),
        rootkit_trojans=(str(tmp_path / "t"),),
        system_audit=(str(tmp_path / "s"), str(tmp_path / "none")),
        windows_apps=(str(tmp_path / "s"),),
    )
    read = load(config)
    assert (len(read.files), len(read.trojans)) == (1, 1)
    assert [key for key, _ in read.audits] == ["system_audit", "windows_apps"]
    assert [(problem.file.rpartition("/")[2], problem.line) for problem in read.problems] == [
        ("f", 2),
        ("t", 2),
        ("s", 3),
        ("none", 0),
        ("s", 3),
    ]
