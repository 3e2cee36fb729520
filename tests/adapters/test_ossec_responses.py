"""Active responses of an ossec.conf become sections of manager.toml that mean the same."""

import msgspec
import pytest
import tomli

from hids.adapters.ossec_responses import responses_of
from hids.core.response.policy import Response, as_toml, check
from hids.errors import ConfigError

CONF = b"""
<ossec_config>
  <global><white_list>127.0.0.1</white_list><white_list>10.0.0.0/24</white_list><white_list>^localhost.localdomain$</white_list></global>
  <command><name>host-deny</name><executable>host-deny.sh</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
  <command><name>drop</name><executable>firewall-drop.sh</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
  <command><name>mail-me</name><executable>mail-me.sh</executable><expect>user, srcip</expect><extra_args>-v loud</extra_args></command>
  <active-response><command>host-deny</command><location>local</location><level>6</level><timeout>600</timeout></active-response>
  <active-response>
    <command>drop</command><location>defined-agent,server</location><agent_id>001</agent_id>
    <rules_group>authentication_failed,|sshd</rules_group><rules_id>5712, 5720</rules_id>
    <timeout>600</timeout><repeated_offenders>30,60,120</repeated_offenders>
  </active-response>
  <active-response><disabled>yes</disabled><command>mail-me</command><location>all</location></active-response>
  <active-response><command>gone</command><location>local</location><level>1</level></active-response>
</ossec_config>
<ossec_config><active-response><disabled>yes</disabled></active-response></ossec_config>
"""


def test_all_that_counts_is_taken_over():
    policy, notes = responses_of("ossec.conf", CONF, wazuh=False)
    assert policy.limits.allow == ("127.0.0.1", "10.0.0.0/24")
    assert [(command.name, command.action, command.needs, command.timeout_allowed) for command in policy.commands] == [
        ("host-deny", "host-deny", ("srcip",), True),
        ("drop", "firewall-drop", ("srcip",), True),
        ("mail-me", "mail-me.sh", ("user", "srcip"), False),
    ]
    assert policy.commands[2].extra_args == ("-v", "loud")
    first, agent, server, mail = policy.responses
    assert (first.location, first.level, first.timeout_s, first.match) == ("local", 6, 600, "any")
    assert (agent.location, agent.agent, agent.groups) == ("defined-agent", "001", ("*authentication_failed", "*sshd*"))
    assert (agent.rules, agent.repeated_offenders) == ((5712, 5720), (30, 60, 120))
    assert (server.location, server.agent, server.disabled) == ("server", "", True)
    assert not agent.disabled
    assert (mail.disabled, mail.level, mail.location) == (True, 1, "all")
    said = "\n".join(notes)
    for words in (
        "no <command> gone",
        "server_agent",
        "names are not looked up",
        "mail-me.sh is a script",
        'mode = "off"',
    ):
        assert words in said


def test_wazuh_wants_level_and_group():
    policy, _ = responses_of("ossec.conf", CONF, wazuh=True)
    assert {response.match for response in policy.responses} == {"all"}


def test_the_sections_are_those_of_manager_toml():
    policy, _ = responses_of("ossec.conf", CONF, wazuh=False)
    tree = tomli.loads(as_toml(policy))
    assert tuple(msgspec.convert(tree["response"], list[Response])) == policy.responses
    check(policy, "manager.toml")


def test_what_is_no_configuration_is_refused():
    with pytest.raises(ConfigError, match="ossec.conf"):
        responses_of("ossec.conf", b"<ossec_config><command>", wazuh=False)
