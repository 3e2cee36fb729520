"""What a manager sets: for whom, how files add up, and what an agent takes."""

import random

import msgspec
import pytest

from hids.core.collect.config import AgentConfig, CentralConfig, SentConfig, SharedConfig, merged, parse, refusal_of
from hids.core.collect.policy import unpack
from hids.core.collect.shared import Edition, Member, edition_for, parse_file, parse_files
from hids.errors import ConfigError

WEB = 'match = { group = ["web"] }\n[[source]]\npath = "/w"\n'
ALL = '[[source]]\npath = "/a"\n[labels]\nsite = "berlin"\n'
DEBIAN = 'match = { os = ["debian*"], name = ["WEB*", "db?"] }\nexclude = ["/x"]\n[syscheck]\ndirectories = ["/etc"]\n'


def config_of(edition: Edition) -> SharedConfig:
    return msgspec.msgpack.decode(edition.body, type=SharedConfig)


def test_an_agent_gets_what_is_for_its_groups_name_and_system():
    files = parse_files({"1.toml": ALL, "2.toml": WEB, "3.toml": DEBIAN})
    web = config_of(edition_for(files, Member("web1", ("web", "prod"), "debian 13")))
    assert [source.path for source in web.source] == ["/a", "/w"]
    assert (web.labels, web.exclude) == ({"site": "berlin"}, ("/x",))
    assert web.syscheck is not None
    assert web.syscheck.directories == ("/etc",)
    other = config_of(edition_for(files, Member("mail", (), "debian 13")))
    assert [source.path for source in other.source] == ["/a"]
    assert other.syscheck is None
    assert edition_for({}, Member("web1")) == Edition()


def test_the_same_content_has_the_same_version():
    one, two = parse_files({"a.toml": ALL}), parse_files({"b.toml": ALL + "# a comment\n"})
    assert edition_for(one, Member("x")) == edition_for(two, Member("y"))


def test_later_files_replace_sources_and_labels_of_the_same_name():
    late = '[[source]]\npath = "/a"\nformat = "json"\n[labels]\nsite = "rome"\n'
    config = config_of(edition_for(parse_files({"1": ALL, "2": late}), Member("x")))
    assert [(source.path, source.format) for source in config.source] == [("/a", "json")]
    assert config.labels == {"site": "rome"}


def test_keys_of_the_registry_are_heard_as_sources_are():
    run, sam = "HKEY_USERS\\Run", "HKEY_USERS\\Sam"

    def table(path: str, arch: str) -> str:
        return f"[[registry]]\npath = '{path}'\narch = '{arch}'\n"

    files = parse_files({"1": table(run, "32") + table(sam, "32"), "2": table(run, "both")})
    sent = config_of(edition_for(files, Member("x")))
    assert [(each.path, each.arch) for each in sent.registry] == [(sam, "32"), (run, "both")]
    own = parse(table(sam, "64"), "agent.toml")
    assert refusal_of(own, sent) == ""
    assert [(each.path, each.arch) for each in merged(own, sent).registry] == [(sam, "64"), (run, "both")]
    with pytest.raises(ConfigError, match=r"a\.toml: \[\[registry\]\] number 1: path: expected a key"):
        parse_file(table("Run", "32"), "a.toml")


def test_all_problems_are_told():
    with pytest.raises(ConfigError) as refused:
        parse_files(
            {"a.toml": "[[source]]\npath = 'x'\n", "b.toml": "colour = 1", "c.toml": "[manager]\naddress = 'x'"}
        )
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == ["a.toml", "b.toml", "c.toml"]
    with pytest.raises(ConfigError, match="unknown field `grp`"):
        parse_file('match = { grp = ["a"] }', "x")
    many = "".join(f'[[source]]\npath = "/{number}"\n' for number in range(200))
    with pytest.raises(ConfigError, match="agent x: .*at most 256"):
        edition_for(parse_files({"a": many, "b": many.replace('"/', '"/b')}), Member("x"))


def test_the_agents_own_file_comes_first():
    own = parse(
        '[[source]]\npath = "/a"\nfrom = "start"\n[labels]\nsite = "own"\n[syscheck]\ndirectories = ["/own"]\n', "x"
    )
    config = merged(own, config_of(edition_for(parse_files({"1": ALL, "2": DEBIAN}), Member("web1", (), "debian"))))
    assert [(source.path, source.from_) for source in config.source] == [("/a", "start")]
    assert config.labels == {"site": "own"}
    assert config.syscheck.directories == ("/own", "/etc")


def test_commands_and_all_else_are_refused_unless_the_agents_own_file_says_so():
    shared = parse_file('[[source]]\nformat = "command"\ncommand = "df"\n', "x")
    assert "accept_commands" in refusal_of(AgentConfig(), shared)
    assert refusal_of(AgentConfig(central=CentralConfig(accept_commands=True)), shared) == ""
    assert "accept = false" in refusal_of(AgentConfig(central=CentralConfig(accept=False)), parse_file(ALL, "x"))
    with pytest.raises(ConfigError, match="unknown field `central`"):
        parse_file("[central]\naccept_commands = true\n", "x")


POLICY = 'match = { group = ["web"] }\n[policy]\nfiles = ["web.yml"]\nscan_time = "03:00"\n'


def test_policies_are_sent_to_those_that_they_are_for():
    texts = {"1.toml": ALL, "2.toml": POLICY, "3.toml": '[policy]\nfiles = ["web.yml", "all.yaml"]\n'}
    files = parse_files({**texts, "web.yml": "w: 1", "all.yaml": "a: 1", "unused.yml": "u: 1"})
    web = msgspec.msgpack.decode(edition_for(files, Member("x", ("web",))).body, type=SentConfig)
    assert [(each.file, unpack(each.packed)) for each in web.policies] == [("web.yml", b"w: 1"), ("all.yaml", b"a: 1")]
    assert web.policy is not None
    assert web.policy.scan_time == "03:00"
    other = msgspec.msgpack.decode(edition_for(files, Member("y")).body, type=SentConfig)
    assert [each.file for each in other.policies] == ["web.yml", "all.yaml"]
    assert other.policy is not None
    assert merged(AgentConfig(), web).policy.scan_time == "03:00"
    assert merged(AgentConfig(), other).policy == AgentConfig().policy


def test_policies_that_cannot_be_sent():
    with pytest.raises(ConfigError, match="2.toml: .policy. files: there is no web.yml beside this file"):
        parse_files({"2.toml": POLICY})
    with pytest.raises(ConfigError, match="beside this file"):
        parse_files({"2.toml": '[policy]\nfiles = ["/etc/shadow"]\n'})
    with pytest.raises(ConfigError, match="unknown field `policies`"):
        parse_file("policies = []", "x")
    with pytest.raises(ConfigError, match="unknown field `timeout_s`"):
        parse_file("[policy]\ntimeout_s = 5\n", "x")
    large = random.Random(7).randbytes(600_000).hex()  # noqa: S311 - what does not shrink
    files = parse_files({"1.toml": '[policy]\nfiles = ["a.yml", "b.yml"]\n', "a.yml": large, "b.yml": large[::-1]})
    with pytest.raises(ConfigError, match="agent x: expected at most .* packed bytes"):
        edition_for(files, Member("x"))


def test_what_is_not_set_is_left_out_for_older_agents():
    body = edition_for(parse_files({"1.toml": WEB}), Member("x", ("web",))).body
    assert msgspec.msgpack.decode(body).keys() == {"source"}
