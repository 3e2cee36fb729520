from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.adapters.migration import copy_rules, migrate
from hids.adapters.rulesets import read_lists, read_ruleset
from hids.core.collect.config import parse
from hids.core.collect.policy import SharedPolicyConfig
from hids.core.collect.shared import parse_file, parse_files
from hids.errors import ConfigError
from hids.manager.config import read_config

CONF = """<ossec_config>
  <global><email_notification>yes</email_notification><email_to>a@example.org</email_to><white_list>10.0.0.1</white_list></global>
  <rules><include>local_rules.xml</include><include>more.xml</include><list>etc/lists/bad</list></rules>
  <remote><connection>secure</connection></remote>
  <localfile><log_format>syslog</log_format><location>/var/log/auth.log</location></localfile>
  <syscheck><directories check_all="yes">/etc</directories></syscheck>
  <rootcheck><rootkit_files>etc/shared/files.txt</rootkit_files></rootcheck>
  <command><name>host-deny</name><executable>host-deny.sh</executable><expect>srcip</expect></command>
  <active-response><command>host-deny</command><location>local</location><level>6</level></active-response>
  <reports><title>Daily</title><group>authentication_failed</group></reports>
  <client><server-ip>10.0.0.2</server-ip></client>
  <odd/>
</ossec_config>"""
AGENT_CONF = """<agent_config os="Linux" profile="web">
  <localfile><log_format>apache</log_format><location>/var/log/nginx/access.log</location></localfile>
  <syscheck><directories>/srv</directories></syscheck>
</agent_config>
<agent_config name="db1|db2">
  <labels><label key="site">berlin</label></labels>
  <localfile><log_format>syslog</log_format><location>/var/log/pg.log</location></localfile>
  <active-response><disabled>yes</disabled></active-response>
</agent_config>"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "ossec"
    for name, text in {
        "etc/ossec.conf": CONF,
        "etc/shared/agent.conf": AGENT_CONF,
        "etc/client.keys": "001 web1 any 0123\n",
        "etc/decoder.xml": "<decoder name='z'><prematch>^z</prematch></decoder>",
        "etc/lists/bad": "10.0.0.9:bad\n",
        "rules/local_rules.xml": '<group name="l,"><rule id="1" level="0"><category>syslog</category><description>x</description></rule></group>',
        "rules/more.xml": '<group name="m,"><rule id="100001" level="5"><match>z</match><description>x</description></rule></group>',
        "rules/unused.xml": "<group name='u,'></group>",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_it_becomes_is_what_the_daemons_take(home: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    found = migrate(home, rules)
    path = tmp_path / "manager.toml"
    path.write_text(found.manager)
    config = read_config(path)
    assert [(set_.path, set_.dialect) for set_ in config.ruleset] == [(str(rules), "ossec")]
    assert [output.name for output in config.output] == ["email"]
    assert config.legacy.enabled
    assert [command.name for command in config.command] == ["host-deny"]
    assert [report.title for report in config.report] == ["Daily"]
    agent = parse(found.agent, "agent.toml")
    assert [source.path for source in agent.source] == ["/var/log/auth.log"]
    assert [folder.path for folder in agent.syscheck.directory] == ["/etc"] or agent.syscheck.directories == ("/etc",)
    assert agent.rootcheck.rootkit_files == (str(home / "etc/shared/files.txt"),)
    assert found.keys == home / "etc/client.keys"


def test_policies_and_the_registry(home: Path, tmp_path: Path) -> None:
    conf = home / "etc/ossec.conf"
    more = (
        r"<syscheck><windows_registry arch='both'>HKEY_USERS\x</windows_registry></syscheck>"
        "<sca><time>04:00</time><policies><policy enabled='no'>ruleset/sca/x.yml</policy></policies><max_eps>1</max_eps></sca>"
    )
    conf.write_text(conf.read_text().replace("<odd/>", more))
    shared = home / "etc/shared/agent.conf"
    shared.write_text(shared.read_text().replace("<labels>", more + "<labels>", 1))
    found = migrate(home, tmp_path / "rules")
    agent = parse(found.agent, "agent.toml")
    assert [(table.path, table.arch) for table in agent.registry] == [("HKEY_USERS\\x", "both")]
    assert agent.policy.files == (f"{home}/ruleset/sca/*.yml",)
    assert (agent.policy.ignore, agent.policy.scan_time) == ((f"{home}/ruleset/sca/x.yml",), "04:00")
    assert any("<max_eps> has no counterpart" in note for note in found.notes)
    sent = parse_file(found.central["all-02.toml"], "all-02.toml")
    assert [(table.path, table.arch) for table in sent.registry] == [("HKEY_USERS\\x", "both")]
    assert sent.policy == SharedPolicyConfig(scan_time="04:00", scan_interval_s=43_200)
    assert any(
        "ruleset/sca/x.yml: an agent leaves out a policy only by [policy] ignore" in note for note in found.notes
    )


POLICY = """policy: {id: mine, name: Mine, file: mine.yml, description: x}
checks:
  - {id: 1, title: one, condition: all, rules: ['f:/etc/passwd']}
"""


def test_policies_that_lie_beside_agent_conf_are_sent(home: Path, tmp_path: Path) -> None:
    def put(folder: str, text: str, *policies: str) -> None:
        (home / folder).mkdir(parents=True, exist_ok=True)
        (home / folder / "mine.yml").write_text(text)
        named = "".join(f"<policy>{policy}</policy>" for policy in policies)
        (home / folder / "agent.conf").write_text(
            f"<agent_config><sca><wday>mon</wday><policies>{named}</policies></sca></agent_config>"
        )

    put("etc/shared/default", POLICY, "etc/shared/mine.yml", "etc/shared/none.yml", "etc/shared/odd name.yml")
    put("etc/shared/web", POLICY.replace("Mine", "Web"), "etc/shared/mine.yml", "broken.yml")
    put("etc/shared/web2", POLICY, "/var/ossec/etc/shared/mine.yml")
    (home / "ruleset/sca").mkdir(parents=True)
    (home / "ruleset/sca/broken.yml").write_text("checks: 1")
    found = migrate(home, tmp_path / "rules")
    files = parse_files(found.central)
    assert [
        (name, file.match.group, file.policy and file.policy.files) for name, file in files.items() if file.policy
    ] == [
        ("default-01.toml", (), ("mine.yml",)),
        ("web-01.toml", ("web",), ("web-mine.yml",)),
        ("web2-01.toml", ("web2",), ("mine.yml",)),
    ]
    assert found.central["mine.yml"] == POLICY
    assert "Web" in found.central["web-mine.yml"]
    assert sum("[central] accept_commands = true" in note for note in found.notes) == 3
    left_out = [note.partition("<policy> ")[2] for note in found.notes if "is left out" in note]
    assert [note.partition(" is left out: ")[0] for note in left_out] == [
        "etc/shared/none.yml",
        "etc/shared/odd name.yml",
        "ruleset/sca/broken.yml",
    ]
    assert f"{home}/etc/shared/default/none.yml: cannot be read: No such file" in left_out[0]


WODLE = """<wodle name="command"><tag>up</tag><command>/opt/check "a b"</command><interval>1d</interval></wodle>
<wodle name="command"><disabled>yes</disabled><command>/opt/none</command></wodle>"""


def test_commands_of_wazuh(home: Path, tmp_path: Path) -> None:
    conf, shared = home / "etc/ossec.conf", home / "etc/shared/agent.conf"
    conf.write_text(conf.read_text().replace("<odd/>", WODLE))
    shared.write_text(shared.read_text().replace("<labels>", WODLE + "<labels>", 1))
    found = migrate(home, tmp_path / "rules")
    sources = [parse(found.agent, "agent.toml").source[-1], parse_file(found.central["all-02.toml"], "x").source[0]]
    assert [(source.alias, source.argv) for source in sources] == [("command_up", ["/opt/check", "a b"])] * 2
    assert not any("wodle" in note or "/opt/none" in note for note in found.notes)
    (told,) = (note for note in found.notes if "accept_commands" in note)
    assert told.startswith(f"{shared}, <agent_config> number 2: it has commands")


def test_parts_for_groups_of_agents(home: Path, tmp_path: Path) -> None:
    central = migrate(home, tmp_path / "rules").central
    web, databases = (parse_file(text, name) for name, text in sorted(central.items()))
    assert (web.match.group, web.match.os) == (("web",), ("*linux*",))
    assert [source.path for source in web.source] == ["/var/log/nginx/access.log"]
    assert databases.match.name == ("db1", "db2")
    assert databases.labels == {"site": "berlin"}


def test_groups_of_wazuh(home: Path, tmp_path: Path) -> None:
    group = home / "etc/shared/proxies"
    group.mkdir()
    group.joinpath("agent.conf").write_text(
        "<agent_config><localfile><location>/p.log</location></localfile></agent_config>"
    )
    text = migrate(home, tmp_path / "rules").central["proxies-01.toml"]
    assert parse_file(text, "x").match.group == ("proxies",)


def test_what_is_not_taken_over_is_named(home: Path, tmp_path: Path) -> None:
    notes = migrate(home, tmp_path / "rules").notes
    assert any("<client> (10.0.0.2) is not taken over: an agent joins with a token" in note for note in notes)
    assert any(note.endswith("ossec.conf:12: <odd> is not known") for note in notes)
    assert any("agent.conf:8: <active-response> is not taken over" in note for note in notes)


@pytest.mark.parametrize(
    ("more", "dialect"), [("", "ossec"), ("<wodle name='x'/>", "wazuh"), ("<ruleset></ruleset>", "wazuh")]
)
def test_whose_it_is(home: Path, tmp_path: Path, more: str, dialect: str) -> None:
    conf = home / "etc/ossec.conf"
    conf.write_text(conf.read_text().replace("<odd/>", more))
    assert migrate(home, tmp_path / "rules").dialect == dialect
    assert migrate(home, tmp_path / "rules", "ossec").dialect == "ossec"


def test_rules_keep_their_order_and_lists_their_names(home: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    copy_rules(migrate(home, rules), home, rules)
    before, after = read_ruleset(home), read_ruleset(rules)
    assert [file.text for file in after] == [file.text for file in before]
    assert read_lists(rules) == read_lists(home)


def test_bytes_that_are_no_text(home: Path, tmp_path: Path) -> None:
    conf = home / "etc/ossec.conf"
    conf.write_bytes(
        conf.read_bytes().replace(b"/var/log/auth.log", b"/var/log/caf\xe9.log").replace(b">/etc<", b">/\xff<")
    )
    found = migrate(home, tmp_path / "rules")
    assert parse(found.agent, "agent.toml").source[0].path == "/var/log/caf\ufffd.log"
    assert [note.partition(": ")[0] for note in found.notes if "U+FFFD" in note] == [f"{conf}:5", f"{conf}:6"]
    (found.manager + found.agent).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_text_of_options_is_written_or_refused(home: Path, tmp_path: Path, one: bytes, other: bytes) -> None:
    inner = b"<localfile><location>%b</location><log_format>%b</log_format></localfile><global><email_to>%b</email_to></global>"
    (home / "etc/ossec.conf").write_bytes(b"<ossec_config>" + inner % (one, other, one) + b"</ossec_config>")
    try:
        found = migrate(home, tmp_path / "rules")
    except ConfigError:
        return
    (found.manager + found.agent + "\n".join(found.notes)).encode()
    parse(found.agent, "agent.toml")


def test_no_installation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected .*etc/ossec\.conf"):
        migrate(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("sections", "dialect"),
    [
        ("<rules/><client_buffer/><auth/>", "ossec"),  # later versions of OSSEC have these two
        ("<ruleset/><remote/>", "wazuh"),
        ("<client/><client_buffer/>", "wazuh"),
        ("<client/><localfile><location>/a</location></localfile>", "ossec"),
    ],
)
def test_where_the_rules_are_says_whose_it_is(tmp_path: Path, sections: str, dialect: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ossec.conf").write_text(f"<ossec_config>{sections}</ossec_config>")
    assert migrate(tmp_path, tmp_path / "new").dialect == dialect


def test_modules_are_named_by_what_they_do_and_those_that_are_off_are_not_told(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ossec.conf").write_text("""<ossec_config>
      <wodle name="cis-cat"><disabled>yes</disabled></wodle>
      <cluster><disabled>yes</disabled></cluster>
      <wodle name="syscollector"><disabled>no</disabled></wodle>
      <vulnerability-detection><enabled>no</enabled></vulnerability-detection>
      <rootcheck><rootkit_files>etc/rootcheck/files.txt</rootkit_files></rootcheck>
      <rule_test><enabled>yes</enabled></rule_test></ossec_config>""")
    inventory, logtest, files = migrate(tmp_path, tmp_path / "new").notes
    assert inventory.endswith('<wodle name="syscollector"> is not taken over: there is no inventory')
    assert "hidsctl logtest" in logtest
    assert f"before {tmp_path} is removed" in files


def test_what_somebody_set_in_the_options_inside(home: Path, tmp_path: Path) -> None:
    (home / "etc/local_internal_options.conf").write_text("# mine\nanalysisd.event_threads=4  # more\n\n")
    notes = [note for note in migrate(home, tmp_path / "rules").notes if "internal" in note]
    assert [note.partition(" is not")[0] for note in notes] == [
        f"{home}/etc/local_internal_options.conf:2: analysisd.event_threads=4"
    ]
