"""The nursery's process by itself."""

import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import hids

RULES = (
    '<group name="g,"><rule id="200100" level="5"><match>failed</match><description>failed</description></rule></group>'
)


def test_it_ends_without_a_word_when_main_was_killed_before_it_read_an_answer(tmp_path: Path):
    rules, tables = tmp_path / "rules", tmp_path / "tables"
    rules.mkdir()
    tables.mkdir()
    (rules / "10-r.xml").write_text(RULES)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folders = [{"name": "hids", "path": str(rules), "dialect": "hids"}]
    arguments = {
        "control-fd": theirs.fileno(),
        "parent": os.getpid(),
        "tables": tables,
        "rulesets": json.dumps(folders),
        "manager": "boss",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "hids.workers.nursery", *(f"--{name}={value}" for name, value in arguments.items())],
        pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(hids.__file__).parent.parent)},
    ) as nursery:
        theirs.close()
        assert select.select([ours], [], [], 60)[0], "it says that it is ready"
        ours.close()  # with that unread, as the system does for who is killed
        assert nursery.stderr is not None
        assert nursery.stderr.read() == b""
        assert nursery.wait(60) == 0
