"""agent.toml: what is taken, what is refused, and that the shipped file is the defaults."""

from pathlib import Path

import pytest
import tomli

from hids.agent.config import AgentConfig, DirectoryConfig, address_of, load
from hids.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "conf" / "agent.toml"


def test_the_shipped_file_is_the_defaults_and_names_every_key():
    assert load(SHIPPED) == AgentConfig()
    tree = tomli.loads(SHIPPED.read_text())
    defaults = AgentConfig()
    for section in ("manager", "central", "syscheck", "spool", "silence", "policy", "rootcheck"):
        fields = getattr(defaults, section).__struct_fields__
        tables = {"syscheck": {"directory"}, "rootcheck": {"exception"}}.get(section, set())  # shown as examples
        assert set(tree[section]) | tables == set(fields)
    optional = {"cloudflare", "aws_waf"}  # TOML has no word for none; the file shows them in comments
    assert set(tree["response"]) | optional == set(defaults.response.__struct_fields__)
    assert all(f"# {name} = " in SHIPPED.read_text() for name in optional)
    assert set(tree) | {"source", "registry"} == set(AgentConfig.__struct_fields__)


def test_the_example_of_a_checked_folder_is_its_defaults(tmp_path: Path):
    lines = SHIPPED.read_text().splitlines()
    start = lines.index("# [[syscheck.directory]]")
    example = "\n".join(line.removeprefix("#") for line in lines[start : lines.index("[spool]")])
    path = tmp_path / "agent.toml"
    path.write_text(example)
    (folder,) = load(path).syscheck.directory
    assert folder == DirectoryConfig(path="/etc", realtime=True, whodata=False)
    (written,) = tomli.loads(example)["syscheck"]["directory"]
    assert set(written) == set(DirectoryConfig.__struct_fields__)


def test_the_example_of_an_exception_works(tmp_path: Path):
    lines = SHIPPED.read_text().splitlines()
    start = lines.index("# [[rootcheck.exception]]")
    path = tmp_path / "agent.toml"
    path.write_text("\n".join(line.removeprefix("# ") for line in lines[start : start + 4]))
    (exception,) = load(path).rootcheck.exception
    assert exception.finding == "Port '4789'(udp) hidden *"


def test_the_examples_in_the_shipped_file_work(tmp_path: Path):
    lines = SHIPPED.read_text().splitlines()
    start = lines.index("# [[source]]")
    end = lines.index("[syscheck]")
    path = tmp_path / "agent.toml"
    path.write_text("\n".join(line.removeprefix("#") for line in lines[start:end]))
    config = load(path)
    assert [source.name for source in config.source] == [
        "source /var/log/auth.log",
        "source /srv/app/logs/app-%Y-%m-%d.log",
        "source /srv/app/logs/*.json",
        "journald",
        "command open ports",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 1", "unknown field `colour`"),
        ("[syscheck]\ndirs = []", "unknown field `dirs` - at `$.syscheck`"),
        ("[[source]]\npath = '/x'\nform = 'syslog'", r"unknown field `form` - at `$.source[0]`"),
        ("[[source]]\nformat = 'syslog'", "number 1: path is missing"),
        ("[[source]]\npath = '/x'\nformat = 'xml'", "format 'xml' is not known"),
        ("[[source]]\npath = 'x.log'", "number 1: path must be absolute"),
        ("[[source]]\npath = 'journald'", "go together"),
        ("[[source]]\npath = '/x'\n[[source]]\npath = '/x'", "number 2: path '/x' is there twice"),
        ("[manager]\naddress = 'boss'", "HOST:PORT"),
        ("[spool]\nmax_bytes = 5", "at least 1048576"),
        ("[spool]\nmax_bytes = '5'", "Expected `int`, got `str` - at `$.spool.max_bytes`"),
        ("[syscheck]\ndirectories = ['etc']", "absolute paths"),
        ("[syscheck]\ndirectories = ['/etc/*']", "absolute paths"),
        ("[syscheck]\nscan_interval_s = 0", "scan_interval_s: at least 1"),
        ("[syscheck]\nmax_file_bytes = -1", "max_file_bytes: 0 or more"),
        ("= 5", "not valid TOML"),
        ("# \udcff", "not valid TOML"),
        ("#" * 2_000_000, "larger than"),
        ("\n".join(f"[[source]]\npath='/{number}'" for number in range(257)), "at most 256"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, complaint: str):
    path = tmp_path / "agent.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert complaint in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read the configuration: No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "address"), [("h:1", ("h", 1)), ("10.0.0.1:1514", ("10.0.0.1", 1514)), ("[::1]:65535", ("::1", 65535))]
)
def test_addresses(text: str, address: tuple[str, int]):
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "h", ":1", "h:", "h:0", "h:65536", "::1:1514", "h:1x", "h:²"])
def test_what_is_no_address(text: str):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        address_of(text)
