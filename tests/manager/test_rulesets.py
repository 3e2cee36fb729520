"""Which rulesets a configuration means."""

from pathlib import Path

import pytest

from hids.manager.config import Config, Ruleset, read_config
from hids.manager.rulesets import folders
from hids.workers.nursery import compile_all, load_folder


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


STOCK = """<group name="syslog,"><rule id="7" level="0"><category>ossec</category><description>d</description></rule></group>
<group name="x,">
<rule id="10" level="7"><category>ossec</category><decoded_as>syscheck_integrity_changed</decoded_as><description>d</description></rule>
<rule id="11" level="7"><category>ossec</category><decoded_as>syscheck_deleted</decoded_as><description>d</description></rule>
<rule id="12" level="5"><category>ossec</category><decoded_as>{third}</decoded_as><description>d</description></rule>
</group>"""


@pytest.mark.parametrize(("third", "ours"), [("syscheck_new_entry", False), ("rootcheck", True)])
def test_a_change_is_told_by_one_ruleset(tmp_path: Path, third: str, ours: bool):  # noqa: FBT001 - a parameter
    (tmp_path / "rules.xml").write_text(STOCK.format(third=third))
    config = Config(ruleset=(Ruleset(path=str(tmp_path), dialect="ossec"),))
    _, product = compile_all(folders(config))
    ids = {rule.id for rule in product.ruleset.rules}
    assert (206001 in ids) == ours
    assert {206103, 206402} <= ids


POLICIES = """<group name="syslog,"><rule id="7" level="0"><category>ossec</category><description>d</description></rule></group>
<group name="x,">
<rule id="10" level="3"><category>ossec</category><decoded_as>{decoder}</decoded_as><description>d</description></rule>
</group>"""


@pytest.mark.parametrize(("decoder", "ours"), [("sca", False), ("rootcheck", True)])
def test_a_policy_is_told_by_one_ruleset(tmp_path: Path, decoder: str, ours: bool):  # noqa: FBT001 - a parameter
    (tmp_path / "rules.xml").write_text(POLICIES.format(decoder=decoder))
    config = Config(ruleset=(Ruleset(path=str(tmp_path), dialect="wazuh"),))
    _, product = compile_all(folders(config))
    ids = {rule.id for rule in product.ruleset.rules}
    assert (206504 in ids) == ours
    assert {206103, 206001, 206188} <= ids
