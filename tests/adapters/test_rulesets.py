"""Reading a ruleset's folder: flat, laid out as OSSEC's and Wazuh's are, and with an order of its own."""

from pathlib import Path

import pytest

from hids.adapters.rulesets import MAX_FILE_BYTES, read_lists, read_ruleset
from hids.errors import ConfigError


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names(folder: Path) -> list[str]:
    return [Path(file.path).relative_to(folder).as_posix() for file in read_ruleset(folder)]


def test_a_flat_folder_is_read_in_the_order_of_names(tmp_path: Path):
    write(tmp_path, "20-b.xml", "10-a.xml", "notes.txt")
    assert names(tmp_path) == ["10-a.xml", "20-b.xml"]
    assert read_ruleset(tmp_path)[0].text == b"10-a.xml"


@pytest.mark.parametrize("root", ["", "etc/", "ruleset/"])
def test_decoders_come_before_rules(tmp_path: Path, root: str):
    write(tmp_path, f"{root}rules/a.xml", f"{root}decoders/z.xml")
    assert names(tmp_path) == [f"{root}decoders/z.xml", f"{root}rules/a.xml"]


def test_a_file_named_order_decides(tmp_path: Path):
    write(tmp_path, "rules/a.xml", "rules/b.xml", "decoders/d.xml")
    (tmp_path / "order").write_text("# as ossec.conf includes them\nrules/b.xml\n\ndecoders/d.xml\nrules/a.xml\n")
    assert names(tmp_path) == ["rules/b.xml", "decoders/d.xml", "rules/a.xml"]


def test_an_order_that_names_a_missing_file(tmp_path: Path):
    (tmp_path / "order").write_text("gone.xml\n")
    with pytest.raises(ConfigError, match=r"gone\.xml: cannot be read"):
        read_ruleset(tmp_path)


def test_lists_have_the_names_that_rules_use(tmp_path: Path):
    write(tmp_path, "etc/lists/amazon/eips", "lists/users", "rules/hosts", "rules/a.xml", "lists/users.cdb")
    lists = read_lists(tmp_path)
    assert lists["etc/lists/amazon/eips"] == lists["lists/amazon/eips"] == b"etc/lists/amazon/eips"
    assert lists["lists/users"] == lists["etc/lists/users"] == b"lists/users"
    assert lists["rules/hosts"] == b"rules/hosts"
    assert not any("xml" in name or "cdb" in name for name in lists)


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()])
def test_nothing_to_read(tmp_path: Path, make):
    folder = tmp_path / "rules"
    make(folder)
    with pytest.raises(ConfigError, match="expected a folder|no \\*.xml"):
        read_ruleset(folder)


def test_a_huge_file_is_not_read(tmp_path: Path):
    with (tmp_path / "a.xml").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ConfigError, match="at most"):
        read_ruleset(tmp_path)
