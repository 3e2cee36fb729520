"""manager.toml: the shipped file is the defaults, every key has its word of explanation, mistakes are named."""

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import tomli

from hids.core.outputs import AnyOutput, Email, Kafka, Nats, Notify, OpenSearch, Output, Sql, SyslogOutput
from hids.errors import ConfigError
from hids.manager.config import Config, Ruleset, address_of, read_config

SHIPPED = Path(__file__).parents[2] / "conf" / "manager.toml"


def test_the_shipped_file_is_the_defaults():
    assert read_config(SHIPPED) == read_config(None) == Config()


def test_the_shipped_file_shows_every_key():
    shown = tomli.loads(SHIPPED.read_text())
    expected: dict[str, Any] = msgspec.to_builtins(Config())
    for tables in ("ruleset", "syslog", "agentless", "output"):
        expected.pop(tables)  # by default there are none; the file shows some in comments
    assert {section: set(keys) for section, keys in shown.items()} == {
        section: set(keys) for section, keys in expected.items()
    }
    text = SHIPPED.read_text()
    assert "# [[ruleset]]" in text
    assert all(f"# {field.name} = " in text for field in msgspec.structs.fields(Ruleset))
    for output in get_args(AnyOutput):
        kind = f'# [[output]]\n# type = "{output.__struct_config__.tag}"'
        assert kind in text
        example = text.partition(kind)[2].partition("[[output]]")[0]
        own = {field.encode_name for field in msgspec.structs.fields(output)}
        common = {field.encode_name for field in msgspec.structs.fields(Output)} - {"name"}
        assert all(f"# {name} = " in (text if name in common else example) for name in own), output


def test_every_key_is_explained_in_the_line_above_it():
    lines = SHIPPED.read_text().splitlines()
    keys = [index for index, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    assert keys
    assert [lines[index] for index in keys if not lines[index - 1].startswith("# ")] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 1", "unknown field `colour`"),
        ("[listen]\nagent = ':1514'", "unknown field `agent` - at `$.listen`"),
        ("[workers]\ncount = -1", "`$.workers.count`"),
        ("[workers]\ncount = 'two'", "Expected `int`, got `str`"),
        ("[workers]\nstuck_s = 0", "`$.workers.stuck_s`"),
        ("[alerts]\nlevel = 17", "`$.alerts.level`"),
        ("[[ruleset]]\ndialect = 'hids'", "missing required field `path`"),
        ("[[ruleset]]\npath = 'x'\ndialect = 'snort'", "Invalid enum value 'snort'"),
        ("[listen]\nagents = '1514'", 'expected "address:port"'),
        ("[listen]\njoin = ':65536'", 'expected "address:port"'),
        ("[limits]\nwindows_mib = 0", "`$.limits.windows_mib`"),
        ("[limits]\nprocess_mib = 1", "`$.limits.process_mib`"),
        ("[[output]]\ntype = 'pigeon'\nurl = 'https://x/'", "'pigeon'"),
        ("[[output]]\ntype = 'webhook'\nurl = 'ftp://x/'", 'expected "https://host/path"'),
        ("[[output]]\ntype = 'webhook'\nurl = 'https://u:p@x/'", 'expected "https://host/path"'),
        ("[[output]]\ntype = 'webhook'\nurl = 'https://x/'\nname = 'a,b'", "[[output]] a,b: name: expected"),
        (2 * "[[output]]\ntype = 'webhook'\nurl = 'https://x/'\n", "each name once"),
        ("[[output]]\ntype = 'webhook'\nurl = 'https://x/'\nbatch = 0", "`$.output[0].batch`"),
        ('[[output]]\ntype = "email"\nto = ["a@b.c\\nBcc: x@y.z"]\nfrom = "a@b.c"', "expected mail addresses"),
        ("[[output]]\ntype = 'email'\nto = []\nfrom = 'a@b.c'", "to: expected addresses"),
        ("[[output]]\ntype = 'email'\nto = ['a@b.c']\nfrom = 'a@b.c'\nuser = 'x'\ntls = 'none'", "needs password_file"),
        ("[[output]]\ntype = 'email'\nto = ['a@b.c']\nfrom = 'a@b.c'\nserver = 'x'", 'server: expected "host:port"'),
        ("[[output]]\ntype = 'syslog'\nserver = 'x:0'", 'server: expected "host:port"'),
        ("[[output]]\ntype = 'syslog'\nserver = 'x:1'\nca_file = '/x'", 'for protocol = "tls"'),
        ("[[output]]\ntype = 'syslog'\nserver = 'x:1'\nfacility = 'fun'", "facility: expected one of"),
        ("[[output]]\ntype = 'syslog'\nserver = 'x:1'\ncompliance = ['iso']", "compliance: expected one of"),
        ("[[output]]\ntype = 'syslog'\nserver = 'x:1'\nmax_bytes = 9", "`$.output[0].max_bytes`"),
        ("[[output]]\ntype = 'notify'\nurl_file = ''", "url_file: expected a file"),
        ("[[output]]\ntype = 'opensearch'\nurls = []", 'urls: expected some of "https://host:9200"'),
        ("[[output]]\ntype = 'opensearch'\nurls = ['http://db:9200']\napi_key_file = 'x'", "urls: expected https://"),
        ("[[output]]\ntype = 'opensearch'\nurls = ['https://db']\nuser = 'x'", "user: expected user and password_file"),
        ("[[output]]\ntype = 'opensearch'\nurls = ['https://db']\nindex = 'A,b'", "index: expected"),
        ("[[output]]\ntype = 'sql'\nurl = 'oracle://db'", "url: expected sqlite:////path/to/file"),
        ("[[output]]\ntype = 'sql'\nurl = 'mysql://u:secret@db/x'", "url: expected no password in it"),
        ("[[output]]\ntype = 'kafka'\nservers = ['db']", 'servers: expected some of "host:9092"'),
        ("[[output]]\ntype = 'kafka'\nservers = ['a:1']\ntopic = ''", "topic: expected"),
        (
            "[[output]]\ntype = 'kafka'\nservers = ['a:1']\nuser = 'u'\npassword_file = 'f'\nmechanism = 'PLAIN'",
            "sends the password in clear",
        ),
        ("[[output]]\ntype = 'nats'\nservers = ['http://a']", 'servers: expected some of "nats://host:4222"'),
        ("[[output]]\ntype = 'nats'\nservers = ['nats://a']\nsubject = 'a.*'", "subject: expected words"),
        (
            "[[output]]\ntype = 'nats'\nservers = ['nats://a']\ntoken_file = 'x'\ncredentials_file = 'y'",
            "or none of them",
        ),
        ("= 5", "not valid TOML"),
        ("# \udcff", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, complaint: str):
    path = tmp_path / "manager.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as refused:
        read_config(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no such file; conf/manager\.toml is a template"):
        read_config(tmp_path / "manager.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":1514", ("", 1514)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:1514", ("::1", 1514)),
        ("hids.example.org:65535", ("hids.example.org", 65_535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]):
    assert address_of(text, "here") == address


@pytest.mark.parametrize(
    "text", ["", "1514", "host", "host:", "host:-1", "host:99999", "host:1e3", "host:\u0661", ":" + "1" * 5000]
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"^here: expected"):
        address_of(text, "here")


def test_the_examples_in_the_shipped_file_work(tmp_path: Path):
    lines = SHIPPED.read_text().splitlines()
    start, end = lines.index("# [[syslog]]"), lines.index("[workers]")
    path = tmp_path / "manager.toml"
    path.write_text("\n".join(line[2:] for line in lines[start:end] if "[[" in line or " = " in line))
    config = read_config(path)
    assert [(port.protocol, port.listen) for port in config.syslog] == [("udp", ":514"), ("tls", ":6514")]
    assert [type(output).__name__ for output in config.output] == [
        *("Webhook", "Email", "SyslogOutput", "Notify"),
        *("OpenSearch", "Sql", "Kafka", "Nats"),
    ]
    assert config.output[1:] == (
        Email(to=("soc@example.org",), sender="hids@example.org"),
        SyslogOutput(server="log.example.org:514"),
        Notify(url_file="/etc/hids/notify.url"),
        OpenSearch(urls=("https://search.example.org:9200",)),
        Sql(url="postgresql://hids@db.example.org/hids"),
        Kafka(servers=("kafka.example.org:9092",)),
        Nats(servers=("nats://nats.example.org:4222",)),
    )
    assert [host.type for host in config.agentless] == ["generic_diff", "integrity_check", "command"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("host = '-oProxyCommand=x'\nrun = 'x'", 'expected "user@host"'),
        ("host = 'h'", 'need run = "..."'),
        ("host = 'h'\ntype = 'integrity_check'", "go together"),
        ("host = 'h'\ntype = 'integrity_check'\npaths = ['etc']", "absolute"),
        ("host = 'h'\ntype = 'integrity_check'\npaths = ['/etc']\nrun = 'x'", "has none"),
        ("host = 'h'\nrun = 'x'\npaths = ['/etc']", "go together"),
    ],
)
def test_an_agentless_check_that_makes_no_sense(tmp_path: Path, text: str, complaint: str):
    path = tmp_path / "manager.toml"
    path.write_text(f"[[agentless]]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        read_config(path)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("listen = ':514'", "allow is missing"),
        ("listen = ':514'\nallow = ['10.0.0.1/8']", "expected addresses or networks"),
        ("listen = '514'\nallow = ['::1']", 'expected "address:port"'),
        ("listen = ':6514'\nallow = ['::1']\nprotocol = 'tls'", "needs certificate"),
        ("listen = ':514'\nallow = ['::1']\nkey = '/x'", 'for protocol "tls"'),
        ("listen = ':514'\nallow = ['::1']\nprotocol = 'sctp'", "Invalid enum value"),
    ],
)
def test_a_syslog_port_that_makes_no_sense(tmp_path: Path, text: str, complaint: str):
    path = tmp_path / "manager.toml"
    path.write_text(f"[[syslog]]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        read_config(path)
    assert complaint in str(refused.value)
