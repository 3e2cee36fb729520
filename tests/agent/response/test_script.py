"""Scripts, really run: arguments as OSSEC gives them, JSON as Wazuh does, and files that nobody else may have changed."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from hids.agent.response.program import ActionFailed
from hids.agent.response.script import Keys, Script, checked, in_json, positional
from hids.messages.response import ResponseOrder

ORDER = ResponseOrder(
    id="a:b:001", agent="001", response="b", command="c", action="act.sh", address="192.0.2.7", alert="a",
    reference="1795488829.55", rule="5712", user="eve", extra=("-v", "two words; id"),
)  # fmt: skip
WAZUH = ResponseOrder(
    id="a:b:001", agent="001", response="b", command="c", action="act.py", address="192.0.2.7", alert="a", rule="5712",
    form="wazuh", alert_json=b'{"rule":{"id":"5712"},"full_log":"a $(id) b"}', extra=("x",),
)  # fmt: skip

POSITIONAL = """#!/bin/sh
printf '%s\\n' "$@" > {out}
"""
STATEFUL = """#!/usr/bin/env python3
import json, sys
message = json.loads(sys.stdin.readline())
with open({out!r}, "a") as out:
    out.write(message["command"] + "\\n")
    if message["command"] == "add":
        keys = [message["parameters"]["alert"].get("srcip", "192.0.2.7")]
        ask = {{"version": 1, "origin": {{"name": "act", "module": "active-response"}}, "command": "check_keys"}}
        print(json.dumps(ask | {{"parameters": {{"keys": keys}}}}), flush=True)
        out.write(json.loads(sys.stdin.readline())["command"] + "\\n")
"""


def place(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    folder.chmod(0o755)
    return path


def test_positional_arguments(tmp_path: Path):
    out = tmp_path / "out"
    place(tmp_path, "act.sh", POSITIONAL.format(out=out))
    asyncio.run(Script(str(tmp_path), Keys()).add(ORDER, 60))
    words = ["add", "eve", "192.0.2.7", "1795488829.55", "5712", "-", "-", "-v", "two words; id"]
    assert out.read_text().splitlines() == words
    asyncio.run(Script(str(tmp_path), Keys()).delete(ORDER))
    assert out.read_text().splitlines() == ["delete", *words[1:]]


def test_by_hand_ossec_says_so():
    order = ResponseOrder(id="x", agent="1", response="by hand", command="c", action="a")
    assert positional(order, "add") == ("add", "-", "-", "(from_the_server)", "(no_rule_id)", "-", "-")


def test_json_and_the_handshake(tmp_path: Path):
    out = tmp_path / "out"
    place(tmp_path, "act.py", STATEFUL.format(out=str(out)))
    script = Script(str(tmp_path), Keys())
    other = ResponseOrder(id="other", agent="001", response="b", command="c", action="act.py", form="wazuh")
    asyncio.run(script.add(WAZUH, 60))
    asyncio.run(script.add(other, 60))
    asyncio.run(script.delete(WAZUH))
    asyncio.run(script.add(other, 60))
    assert out.read_text().split() == ["add", "continue", "add", "abort", "delete", "add", "continue"]


def test_the_alert_goes_whole():
    message = json.loads(in_json(WAZUH, "add", "/x/act.py"))
    assert message["parameters"]["alert"]["full_log"] == "a $(id) b"
    assert message["parameters"] | {"alert": 0} == {"extra_args": ["x"], "alert": 0, "program": "/x/act.py"}
    assert (message["version"], message["command"]) == (1, "add")


@pytest.mark.parametrize("answer", ["nonsense", '{"command": "rm"}', "[]"])
def test_a_script_that_says_something_else_fails(tmp_path: Path, answer: str):
    place(tmp_path, "act.py", f"#!/bin/sh\nread line\nprintf '%s\\n' '{answer}'\n")
    with pytest.raises(ActionFailed, match="expected check_keys"):
        asyncio.run(Script(str(tmp_path), Keys()).add(WAZUH, 60))


def test_a_script_that_fails_or_hangs(tmp_path: Path):
    place(tmp_path, "act.sh", "#!/bin/sh\necho no >&2\nexit 7\n")
    place(tmp_path, "act.py", "#!/bin/sh\nexec sleep 60\n")
    script = Script(str(tmp_path), Keys(), timeout_s=0.3)
    with pytest.raises(ActionFailed, match="status 7: 'no'"):
        asyncio.run(script.add(ORDER, 60))
    with pytest.raises(ActionFailed, match="was ended after"):
        asyncio.run(script.add(WAZUH, 60))


def test_only_files_that_nobody_else_can_change(tmp_path: Path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    good = place(folder, "good", "#!/bin/sh\n")
    assert checked(str(folder), "good") == str(good)
    for name in ("../good", "/bin/sh", "", ".hidden", "a/b"):
        with pytest.raises(ActionFailed, match="plain name"):
            checked(str(folder), name)
    with pytest.raises(ActionFailed, match="no such script"):
        checked(str(folder), "none")
    (folder / "link").symlink_to("/bin/true")
    with pytest.raises(ActionFailed, match=r"others must not|expected a file"):
        checked(str(folder), "link")
    good.chmod(0o644)
    with pytest.raises(ActionFailed, match="can be executed"):
        checked(str(folder), "good")
    good.chmod(0o777)
    with pytest.raises(ActionFailed, match="must not be able to write"):
        checked(str(folder), "good")
    good.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(good, 65_534, 65_534)
        with pytest.raises(ActionFailed, match="must belong to root"):
            checked(str(folder), "good")
        os.chown(good, 0, 0)
    folder.chmod(0o777)
    with pytest.raises(ActionFailed, match="must not be able to write"):
        checked(str(folder), "good")
