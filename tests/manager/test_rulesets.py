"""Which rulesets a configuration means."""

from pathlib import Path

from hids.manager.config import Config, Ruleset, read_config
from hids.manager.rulesets import folders
from hids.workers.nursery import load_folder


def named(tmp_path: Path, *dialects: str) -> list[tuple[str, str]]:
    text = "".join(f'[[ruleset]]\npath = "/x/{n}"\ndialect = "{dialect}"\n' for n, dialect in enumerate(dialects))
    path = tmp_path / "manager.toml"
    path.write_text(text)
    return [(folder.name, folder.only) for folder in folders(read_config(path))]


def test_ours_where_none_is_named(tmp_path: Path):
    assert named(tmp_path) == [("hids", "")]


def test_what_the_product_says_of_itself_is_always_understood(tmp_path: Path):
    assert named(tmp_path, "ossec", "wazuh") == [("0", ""), ("1", ""), ("hids", "6")]
    assert named(tmp_path, "ossec", "hids") == [("0", ""), ("1", "")]


def test_those_rules_stand_alone():
    (_, product) = folders(Config(ruleset=(Ruleset(path="/x", dialect="ossec"),)))
    ids = {rule.id for rule in load_folder(product).rules}
    assert {206107, 206103, 206001} <= ids
    assert all(206000 <= number < 207000 for number in ids)
