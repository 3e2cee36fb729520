"""The order in which an ossec.conf names its files."""

from pathlib import Path

import pytest

from hids.adapters.ossec_conf import reports_toml, ruleset_files
from hids.adapters.rulesets import read_lists, read_ruleset
from hids.errors import ConfigError
from hids.manager.config import read_config

MAIL = '\n[[output]]\ntype = "email"\nto = ["soc@example.org"]\nfrom = "hids@example.org"\n'


def home(tmp_path: Path, *names: str) -> Path:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def named(folder: Path, conf: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in ruleset_files(folder, "ossec.conf", conf.encode())]


def test_ossec_includes_in_order_and_its_default_decoders(tmp_path: Path):
    folder = home(tmp_path, "etc/decoder.xml", "etc/local_decoder.xml", "rules/a.xml", "rules/b.xml", "rules/c.xml")
    conf = (
        "<ossec_config><rules><include>b.xml</include><!-- <include>c.xml</include> --><include>a.xml</include></rules>"
    )
    assert named(folder, conf + "</ossec_config>") == [
        "etc/decoder.xml",
        "etc/local_decoder.xml",
        "rules/b.xml",
        "rules/a.xml",
    ]


def test_wazuh_folders_in_order_and_what_they_exclude(tmp_path: Path):
    folder = home(
        tmp_path,
        "ruleset/decoders/d.xml",
        "ruleset/rules/a.xml",
        "ruleset/rules/policy.xml",
        "etc/decoders/local.xml",
        "etc/rules/0.xml",
    )
    conf = """<ossec_config><ruleset>
      <decoder_dir>ruleset/decoders</decoder_dir>  <rule_dir>ruleset/rules</rule_dir>
      <rule_exclude>policy.xml</rule_exclude>  <list>etc/lists/x</list>
      <decoder_dir>etc/decoders</decoder_dir>  <rule_dir>etc/rules</rule_dir>
    </ruleset></ossec_config>
    <ossec_config><global></global></ossec_config>"""
    assert named(folder, conf) == [
        "ruleset/decoders/d.xml",
        "etc/decoders/local.xml",
        "ruleset/rules/a.xml",
        "etc/rules/0.xml",
    ]


def test_a_configuration_without_rules_names_nothing(tmp_path: Path):
    assert named(home(tmp_path, "etc/decoder.xml"), "<ossec_config><syscheck></syscheck></ossec_config>") == []


def test_a_broken_configuration_says_where(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"ossec\.conf:2"):
        ruleset_files(tmp_path, "ossec.conf", b"<ossec_config>\n<rules></oops></ossec_config>")


def test_the_folder_of_an_installation_is_read_in_that_order(tmp_path: Path):
    folder = home(tmp_path, "etc/decoder.xml", "rules/a.xml", "rules/z.xml")
    (folder / "etc/ossec.conf").write_text(
        "<ossec_config><rules><include>z.xml</include><include>a.xml</include></rules></ossec_config>"
    )
    files = [Path(file.path).relative_to(folder).as_posix() for file in read_ruleset(folder)]
    assert files == ["etc/decoder.xml", "rules/z.xml", "rules/a.xml"]


def test_local_files_come_after_those_of_the_product_but_local_lists_first(tmp_path: Path):
    folder = home(tmp_path, "etc/rules/0.xml", "ruleset/rules/9.xml", "etc/lists/x", "ruleset/lists/x")
    files = [Path(file.path).relative_to(folder).as_posix() for file in read_ruleset(folder)]
    assert files == ["ruleset/rules/9.xml", "etc/rules/0.xml"]
    assert read_lists(folder)["etc/lists/x"] == b"etc/lists/x"


def test_reports_are_taken_over(tmp_path: Path):
    conf = b"""<ossec_config><reports><category>authentication_failed</category><user type="relation">srcip</user>
        <title>Failed "logins"</title><email_to>me@example.com, you@example.com</email_to></reports>
      <reports><group>syscheck|rootcheck</group><frequency>weekly</frequency><level>7</level><rule>550, 551</rule>
        <srcip>192.0.2.</srcip><showlogs>yes</showlogs><type>email</type><odd>x\x7f</odd></reports></ossec_config>"""
    path = tmp_path / "manager.toml"
    path.write_text(reports_toml("ossec.conf", conf) + MAIL)
    first, second = read_config(path).report
    assert (first.title, first.frequency, first.email_to) == (
        'Failed "logins"',
        "daily",
        ("me@example.com", "you@example.com"),
    )
    assert (first.group, first.related) == (("*authentication_failed*",), (("user", "srcip"),))
    assert (second.title, second.frequency, second.level, second.rule) == ("Report", "weekly", 7, (550, 551))
    assert (second.group, second.srcip, second.show_logs) == (("*syscheck*", "*rootcheck*"), ("*192.0.2.*",), True)
    assert '# not taken over: "odd" = "x' in path.read_text()


def test_reports_of_one_title_and_several_recipients(tmp_path: Path):
    report = (
        "<reports><title>Failures</title><email_to>a@example.org</email_to><email_to>b@example.org</email_to></reports>"
    )
    path = tmp_path / "manager.toml"
    text = reports_toml("ossec.conf", f"<ossec_config>{report}{report}<reports/></ossec_config>".encode())
    path.write_text(text + MAIL)
    config = read_config(path)
    assert [report.title for report in config.report] == ["Failures", "Failures (2)", "Report"]
    assert config.report[1].email_to == ("a@example.org", "b@example.org")
    assert config.mail is config.output[0]
    path.write_text(reports_toml("ossec.conf", f"<ossec_config>{report}</ossec_config>".encode(), mailed=False))
    assert [one.email_to for one in read_config(path).report] == [()]
    assert '# email_to = ["a@example.org", "b@example.org"]' in path.read_text()


def test_no_reports_are_none():
    assert reports_toml("ossec.conf", b"<ossec_config><global></global></ossec_config>") == ""
