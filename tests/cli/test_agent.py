"""The command line `hids-agent`: joining for real, and one clear line for what goes wrong."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity
from hids.adapters.joining import JoinDesk, JoinListener
from hids.adapters.listening import listen
from hids.adapters.pki import Authority
from hids.adapters.registry import Registry
from hids.cli.agent import app, default_config, default_state
from hids.messages.joining import FromJoin, ToJoin

PIN = "sha256:" + "0" * 64


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Office:
    """A manager's joining port on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        assert self._ready.wait(10)

    async def _main(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        authority = Authority.open_or_create(self._folder / "ca", SystemClock())
        registry = Registry(self._folder / "agents.db")
        desk = JoinDesk(authority, registry, session_port=4711)

        async def answer(question: ToJoin, ip: str) -> FromJoin:
            return desk.answer(question, ip, SystemClock().now_ms())

        listener, port = JoinListener(), listen("127.0.0.1", 0, "join")
        listener.start(port, authority.joining_context(), answer)
        self.pin, self.port = authority.pin, port.getsockname()[1]
        self.token = registry.create_token(SystemClock().now_ms())
        self._ready.set()
        await self._over.wait()
        await listener.stop()
        registry.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "office")
    yield office
    office.close()


def test_joining_leaves_an_identity_and_says_what_to_do_next(office: Office, tmp_path: Path):
    state = tmp_path / "state"
    address = f"127.0.0.1:{office.port}"
    done = command("join", address, "--token", office.token, "--ca-pin", office.pin, "--state", state, "--name", "web1")
    assert done.exit_code == 0
    assert done.stdout.endswith(f"joined 127.0.0.1 as agent 001; now start it: hids-agent run --state {state}\n")
    identity = Identity.read(state)
    assert identity is not None
    assert (identity.manager, identity.port, identity.agent_id) == ("127.0.0.1", 4711, "001")
    assert state.stat().st_mode & 0o777 == 0o700
    again = command("join", address, "--token", office.token, "--ca-pin", office.pin, "--state", state)
    assert again.exit_code == 1
    assert again.stderr.startswith(f"hids-agent: manager {address} refuses: ")


def test_a_wrong_pin_sends_nothing(office: Office, tmp_path: Path):
    done = command(
        "join", f"127.0.0.1:{office.port}", "--token", office.token, "--ca-pin", PIN, "--state", tmp_path / "s"
    )
    assert done.exit_code == 2
    assert "not the one that is pinned" in done.stderr
    assert Identity.read(tmp_path / "s") is None


def test_nobody_there_is_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = command("join", f"127.0.0.1:{port}", "--token", "t", "--ca-pin", PIN, "--state", tmp_path)
    assert done.exit_code == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("address", ["h:", "::1:1515", "h:99999", ":1515"])
def test_what_is_no_address_is_a_usage_error(tmp_path: Path, address: str):
    done = command("join", address, "--token", "t", "--ca-pin", PIN, "--state", tmp_path)
    assert done.exit_code == 2
    assert "expected HOST:PORT" in done.stderr


@pytest.mark.parametrize("arguments", [("join", "h"), ("run", "--colour"), ("dance",)])
def test_usage(arguments: tuple[str, ...]):
    assert command(*arguments).exit_code == 2


@pytest.mark.parametrize("name", ["join", "run", "status"])
def test_help_has_an_example(name: str):
    done = command(name, "--help")
    assert done.exit_code == 0
    assert f"Example: hids-agent {name}" in done.stdout


def test_a_damaged_status_file_is_said(tmp_path: Path):
    (tmp_path / "status.json").write_bytes(b"{")
    done = command("status", "--state", tmp_path)
    assert done.exit_code == 1
    assert "damaged" in done.stderr


@pytest.mark.parametrize(
    ("uid", "state", "config"),
    [(0, "/var/lib/hids-agent", "/etc/hids/agent.toml"), (1000, "/x/state/hids-agent", "/x/config/hids/agent.toml")],
)
def test_default_places(monkeypatch: pytest.MonkeyPatch, uid: int, state: str, config: str):
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setenv("XDG_STATE_HOME", "/x/state")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x/config")
    assert (default_state(), default_config()) == (Path(state), Path(config))


def test_an_ossec_conf_becomes_a_part_of_agent_toml(tmp_path: Path):
    conf = tmp_path / "ossec.conf"
    conf.write_text("<ossec_config><syscheck><directories>/etc</directories></syscheck></ossec_config>")
    done = command("import-ossec-conf", conf)
    assert done.exit_code == 0
    assert done.output == '[syscheck]\n\n[[syscheck.directory]]\npath = "/etc"\n'
    conf.write_text(
        "<ossec_config><syscheck><windows_registry arch='both'>HKEY_USERS\\x</windows_registry></syscheck>"
        "<sca><enabled>yes</enabled></sca></ossec_config>"
    )
    done = command("import-ossec-conf", conf, "--home", "/opt/wazuh")
    assert done.output == (
        '[[registry]]\npath = "HKEY_USERS\\\\x"\narch = "both"\n\n[policy]\nfiles = ["/opt/wazuh/ruleset/sca/*.yml"]\n'
    )
    conf.write_text("<ossec_config></ossec_config>")
    done = command("import-ossec-conf", conf)
    assert done.exit_code == 2
    assert "there is none of <syscheck>, <rootcheck> and <sca> in it" in done.output
    assert command("import-ossec-conf", tmp_path / "none").exit_code == 2


def test_check_says_whether_agent_toml_can_be_used(tmp_path: Path):
    path = tmp_path / "agent.toml"
    path.write_text('[[source]]\npath = "/var/log/a.log"\n')
    told = command("check", "--config", path)
    assert (told.exit_code, told.stdout) == (0, f"{path} can be used\n")
    path.write_text('[[source]]\npahts = "/var/log/a.log"\n')
    told = command("check", "--config", path)
    assert told.exit_code == 2
    assert f"{path}" in told.stderr
    assert "pahts" in told.stderr
