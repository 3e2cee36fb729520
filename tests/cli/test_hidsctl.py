"""hidsctl against a control socket: what people see, what scripts read, and the exit status."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

import hids
from hids.adapters.control import ControlSocket
from hids.adapters.paths import ManagerPaths
from hids.cli.hidsctl import app
from hids.errors import HidsError

EVIL = "web\x1b[31m1"


def node(name: str, state: str = "running", *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name,
        "kind": "part",
        "state": state,
        "mailbox": {"depth": 1, "bound": 64},
        "handled": 5,
        "per_s": 0.5,
        "restarts": 0,
        "last_failure": None,
        "last_failure_ms": None,
        "facts": {},
        "children": list(children),
    }
    return made | more


def agent(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "007",
        "name": EVIL,
        "state": "connected",
        "address": "10.0.0.1",
        "os": "Linux",
        "software": "hids 0.1.0",
        "joined_ms": 1_700_000_000_000,
        "last_seen_ms": 1_700_000_000_000,
        "removed_ms": None,
        "removed_by": None,
        "committed": 42,
        "epoch": 1,
        "groups": ["web"],
    }
    return made | changes


class Manager:
    """Answers as a manager would; the test sets what."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.paths = ManagerPaths.of(state)
        self.paths.run.mkdir(parents=True)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        control = ControlSocket(self.paths.control, self._answer)
        self._ready.set()
        await self._stop.wait()
        control.close()
        await asyncio.sleep(0)

    async def _answer(self, command: str, arguments: dict[str, Any], who: str) -> Any:
        assert who
        self.asked.append((command, arguments))
        answer = self.answers[command]
        if isinstance(answer, HidsError):
            raise answer
        return answer

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["--state", str(self.state), *arguments])


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


def status(**more: Any) -> dict[str, Any]:
    lane = node("lane", facts={"pid": 77, "rss_mib": 30.5, "cpu_percent": 1.5, "path": EVIL})
    return {
        "version": "0.1.0",
        "name": "boss",
        "uptime_s": 3725.2,
        "listen": {"agents": 1514, "join": 1515},
        "agents_connected": 3,
        "rulesets": [{"name": "hids", "hash": "abc", "decoders": 10, "rules": 100}],
        "tree": node("root", "running", lane, node("index")),
    } | more


def test_status_shows_the_tree_and_ends_with_0_when_all_runs(manager: Manager):
    manager.answers["status"] = status()
    shown = manager.run("status")
    assert shown.exit_code == 0, shown.output
    assert "hids 0.1.0 on boss, up 1:02:05" in shown.output
    assert all(word in shown.output for word in ("root", "lane", "index", "77", "30.5", "1.5"))
    assert "\x1b[31m" not in shown.output


def test_status_names_what_failed_and_ends_with_1(manager: Manager):
    broken = node(
        "worker-1", "restarting in 2 s", last_failure=f"killed {EVIL}", last_failure_ms=1_700_000_000_000, restarts=3
    )
    manager.answers["status"] = status(tree=node("root", "running", broken))
    shown = manager.run("status")
    assert shown.exit_code == 1
    assert "last failure of worker-1" in shown.output
    assert "\x1b[31m" not in shown.output


@pytest.mark.parametrize("arguments", [("--json", "status"), ("status", "--json")])
def test_json_is_what_the_manager_said(manager: Manager, arguments: tuple[str, ...]):
    manager.answers["status"] = status()
    assert json.loads(manager.run(*arguments).output) == status()


def test_no_manager_is_told_with_what_to_do(tmp_path: Path):
    shown = CliRunner().invoke(app, ["--state", str(tmp_path), "status"])
    assert shown.exit_code == 3
    assert "no manager runs on" in shown.output
    assert "Traceback" not in shown.output


def test_a_token_comes_as_the_command_to_type(manager: Manager):
    manager.answers["token"] = {
        "token": "TOKEN",
        "pin": "sha256:ab",
        "join_port": 1515,
        "expires_ms": 1_700_000_000_000,
        "uses": 20,
    }
    arguments = ("agent", "token", "--host", "boss.example.org", "--valid", "7d", "--uses", "20", "--note", "web")
    shown = manager.run(*arguments)
    assert shown.exit_code == 0, shown.output
    assert "hids-agent join boss.example.org:1515 --token TOKEN --ca-pin sha256:ab" in shown.output
    terms = {"groups": [], "networks": [], "approve": False}
    assert manager.asked == [("token", {"valid_s": 7 * 86_400, "uses": 20, "note": "web", **terms})]
    answer = json.loads(manager.run(*arguments, "--json").output)
    assert answer["command"].startswith("hids-agent join boss.example.org:1515")


@pytest.mark.parametrize("span", ["", "0m", "5", "m", "1w", "-1h", "1h30m"])
def test_a_span_that_is_none_is_wrong_usage(manager: Manager, span: str):
    shown = manager.run("agent", "token", "--valid", span)
    assert shown.exit_code == 2
    assert manager.asked == []


def test_agents_are_listed_shown_and_removed(manager: Manager):
    manager.answers |= {"agents": [agent()], "agent": agent(), "remove": agent(state="removed")}
    listed, one, removed = (
        manager.run("agent", "list"),
        manager.run("agent", "show", "007"),
        manager.run("agent", "remove", "007"),
    )
    assert [result.exit_code for result in (listed, one, removed)] == [0, 0, 0]
    assert "007" in listed.output
    assert "committed: 42" in one.output
    assert removed.output.startswith("agent 007 (")
    assert not any("\x1b[31m" in result.output for result in (listed, one, removed))
    assert manager.asked[1:] == [("agent", {"agent": "007"}), ("remove", {"agent": "007"})]
    manager.answers["agents"] = []
    assert "`hidsctl agent token`" in manager.run("agent", "list").output


def test_through_a_pipe_an_agent_is_one_line(manager: Manager):
    manager.answers["agents"] = [
        agent(state="never connected", name="a-rather-long-name.example.org", os="Debian GNU/Linux 12 (bookworm)")
    ]
    heading, row = manager.run("agent", "list").output.splitlines()
    assert heading.startswith("id ")
    assert "never connected" in row
    assert "Debian GNU/Linux 12 (bookworm)" in row


def test_a_refusal_ends_with_1_and_its_words_on_stderr(manager: Manager):
    manager.answers["remove"] = HidsError(f"no agent is named {EVIL}")
    shown = manager.run("agent", "remove", "web9")
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert shown.stderr.startswith("hidsctl: no agent is named web")
    assert "\x1b[31m" not in shown.stderr


def test_a_reload_says_which_rules_are_in_use(manager: Manager):
    manager.answers["reload"] = {"rulesets": status()["rulesets"]}
    shown = manager.run("rules", "reload")
    assert (shown.exit_code, shown.output) == (0, "in use: hids, 10 decoders, 100 rules (abc)\n")
    manager.answers["reload"] = HidsError("the rulesets are refused, the old ones stay in use:\na.xml:1: x\nb.xml:2: y")
    shown = manager.run("rules", "reload")
    assert shown.exit_code == 1
    assert shown.stderr.count("hidsctl: ") == 3


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *path, name)


@pytest.mark.parametrize("path", list(commands(get_command(app))), ids=" ".join)
def test_every_help_is_for_people(path: tuple[str, ...]):
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert "\\b" not in result.stdout, "the mark for lines that stay as they are is not shown"


def test_the_version_needs_no_manager(tmp_path: Path):
    shown = CliRunner().invoke(app, ["--state", str(tmp_path), "version"])
    assert (shown.exit_code, shown.output) == (0, f"hids {hids.__version__}\n")
    for arguments in (("--json", "version"), ("version", "--json")):
        assert json.loads(CliRunner().invoke(app, arguments).output) == {"version": hids.__version__}


# ---- a fleet


def test_a_token_has_terms_and_an_agent_is_added_by_name(manager: Manager):
    answer = {"token": "t0ken", "pin": "sha256:00", "join_port": 1515, "expires_ms": 1_700_000_000_000, "uses": 1}
    manager.answers["token"] = answer | {"name": ""}
    made = manager.run("agent", "token", "--group", "web", "--group", "prod", "--from", "10.0.0.0/8", "--approve")
    assert made.exit_code == 0, made.output
    (_, asked) = manager.asked[-1]
    assert (asked["groups"], asked["networks"], asked["approve"]) == (["web", "prod"], ["10.0.0.0/8"], True)
    manager.answers["token"] = answer | {"name": "db 1"}
    added = manager.run("agent", "add", "db 1", "--host", "boss")
    assert "hids-agent join boss:1515 --token t0ken --ca-pin sha256:00 --name 'db 1'" in added.stdout
    assert manager.asked[-1][1]["name"] == "db 1"


def test_what_others_wrote_reaches_no_terminal_as_it_is(manager: Manager):
    row = {"key": "a" * 64, "name": EVIL, "state": "waiting", "address": "::1", "os": EVIL, "groups": "", "asked_ms": 1}
    manager.answers |= {
        "pending": [row],
        "decide": row | {"state": "approved"},
        "rename": {"id": "007", "name": EVIL},
        "group": {"id": "007", "name": EVIL, "groups": [EVIL]},
        "restart": {"id": "007", "name": EVIL},
        "why": {"id": "007", "name": EVIL, "connected": False, "reasons": [EVIL]},
        "agents": [agent(software=EVIL), agent(state="removed")],
        "config_plan": {
            "before": {"a": EVIL},
            "agents": [{"id": "1", "name": EVIL, "before": "", "after": "x", "connected": False}],
        },
        "config_apply": {"version": 3, "trial": {"canaries": ["001"]}},
        "config_rollback": {"current": 2, "last": EVIL},
        "config_list": {
            "current": 2,
            "trial": {"number": 3, "until_ms": 1, "canaries": ["001"]},
            "last": EVIL,
            "versions": [{"number": 2, "by": EVIL, "at_ms": 1, "files": [EVIL]}],
        },
    }
    folder = manager.state / "agents.d"
    folder.mkdir()
    (folder / "a.toml").write_text('[[source]]\npath = "/x"\n')
    for arguments, status in (
        (("agent", "pending"), 0),
        (("agent", "approve", "x"), 0),
        (("agent", "deny", "x"), 0),
        (("agent", "rename", "x", "y"), 0),
        (("agent", "group", "x", "y"), 0),
        (("agent", "restart", "x"), 0),
        (("agent", "why-offline", "x"), 1),
        (("agent", "upgrade-info"), 1),
        (("config", "check"), 0),
        (("config", "plan"), 0),
        (("config", "apply"), 0),
        (("config", "rollback"), 0),
        (("config", "status"), 0),
        (("config", "list"), 0),
    ):
        shown = manager.run(*arguments)
        assert shown.exit_code == status, (arguments, shown.output, shown.exception)
        assert "\x1b" not in shown.output, arguments
        as_json = manager.run("--json", *arguments)
        assert as_json.exit_code == status
        json.loads(as_json.stdout)


def test_agents_that_were_removed_are_skipped_and_named(manager: Manager, tmp_path: Path):
    skipped = [
        {"line": 1, "id": "004", "name": EVIL, "reason": "removed"},
        {"line": 2, "id": "5", "name": "", "reason": "removed"},
    ]
    taken = {"id": "001", "name": "web1", "agent_id": "001", "outcome": "new", "note": ""}
    manager.answers["legacy.import"] = {"agents": [taken], "bad": [], "skipped": skipped, "enabled": True}
    keys = tmp_path / "client.keys"
    keys.write_text("whatever\n" * 4_000)  # more than goes into one request
    shown = manager.run("agent", "import-keys", str(keys))
    assert shown.exit_code == 0, shown.output
    parts = len(manager.asked)
    assert parts == 2
    first, second = (arguments["text"].count("\n") + 1 for _, arguments in manager.asked)
    assert first + second == 4_001
    assert "\x1b" not in shown.output
    assert "line 2: agent 5 (no name left) skipped: removed\n" in shown.stdout
    assert f"line {first + 2}: agent 5 (no name left) skipped: removed\n" in shown.stdout
    assert shown.stdout.endswith("\n2 agents, 4 skipped\n")
    as_json = json.loads(manager.run("agent", "import-keys", str(keys), "--json").stdout)
    assert [line["line"] for line in as_json["skipped"]] == [1, 2, first + 1, first + 2]


def test_one_file_of_agents_d_is_checked_with_the_policies_that_it_names(tmp_path: Path):
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["--state", str(tmp_path), "config", "check", *map(str, arguments)])

    policy = "policy: {id: a, name: A, file: a.yml, description: x}\nchecks:\n  - {id: 1, title: b, condition: all, rules: ['f:/a']}\n"
    for name, text in {
        "web.toml": '[policy]\nfiles = ["web.yml"]',
        "web.yml": policy,
        "bad.yml": "checks: 1",
        "bad.toml": '[policy]\nfiles = ["bad.yml"]',
        "odd.toml": "colour = 1",
        "manager.toml": "",
    }.items():
        (tmp_path / name).write_text(text)
    fine = run(tmp_path / "web.toml", "--json")
    assert (fine.exit_code, json.loads(fine.stdout)) == (0, {"files": ["web.toml", "web.yml"]})
    assert run(tmp_path / "web.yml").stdout == "1 file is fine\n"
    for name, said in {
        "bad.toml": "bad.yml",
        "bad.yml": "bad.yml",
        "odd.toml": "odd.toml: Object contains unknown field `colour`",
        "none.toml": "not there, or not called as a file of agents.d is",
    }.items():
        wrong = run(tmp_path / name)
        assert (wrong.exit_code, said in wrong.stderr) == (1, True), (name, wrong.output)
    for arguments, said in (
        ((tmp_path / "manager.toml",), "hids-manager check --config"),
        ((tmp_path,), "--folder"),
        ((tmp_path / "web.toml", "--folder", tmp_path), "got both"),
    ):
        wrong = run(*arguments)
        assert wrong.exit_code == 2
        assert said in " ".join(wrong.stderr.replace("│", " ").split()), wrong.stderr


def test_files_that_are_wrong_are_told_without_a_manager(tmp_path: Path):
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["--state", str(tmp_path), "config", "check", *arguments])

    assert "no such folder" in run().stderr
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "agents.d" / "a.toml").write_text("colour = 1")
    wrong = run()
    assert wrong.exit_code == 1
    assert "a.toml: Object contains unknown field `colour`" in wrong.stderr
    (tmp_path / "agents.d" / "a.toml").write_bytes(b"\xff")
    assert "cannot be read" in run().stderr
