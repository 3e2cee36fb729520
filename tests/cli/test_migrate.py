import json
import subprocess
import sys
from pathlib import Path

import tomli

CONF = """<ossec_config><localfile><location>/var/log/a.log</location></localfile>
<remote><connection>secure</connection></remote><osquery/></ossec_config>"""


def hidsctl(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hids.cli.hidsctl", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_show_then_write_then_refuse(tmp_path: Path) -> None:
    home, to = tmp_path / "ossec", tmp_path / "new"
    (home / "etc").mkdir(parents=True)
    (home / "etc/ossec.conf").write_text(CONF)
    shown = hidsctl("migrate", home)
    assert shown.returncode == 0, shown.stderr
    assert 'path = "/var/log/a.log"' in shown.stdout
    assert "note: " in shown.stdout
    assert "nothing was written" in shown.stdout
    assert not to.exists()
    written = hidsctl("migrate", home, "--to", to, "--json")
    assert written.returncode == 0, written.stderr
    answer = json.loads(written.stdout)
    assert answer["written_to"] == str(to)
    assert sorted(answer["files"]) == ["agent.toml", "manager.toml"]
    assert any("osqueryd" in note for note in answer["notes"])
    assert (to / "manager.toml").read_text() == answer["files"]["manager.toml"]
    again = hidsctl("migrate", home, "--to", to)
    assert again.returncode == 1
    assert "there already; --force writes over it" in again.stderr
    assert hidsctl("migrate", home, "--to", to, "--force").returncode == 0


def test_nothing_there(tmp_path: Path) -> None:
    told = hidsctl("migrate", tmp_path)
    assert (told.returncode, "expected" in told.stderr) == (1, True)
    assert hidsctl("migrate", tmp_path, "--dialect", "odd").returncode == 2


def test_what_needs_a_person_is_written_so_that_the_manager_takes_it(tmp_path: Path) -> None:
    home, to = tmp_path / "ossec", tmp_path / "new"
    (home / "etc").mkdir(parents=True)
    (home / "etc/ossec.conf").write_text("""<ossec_config>
      <command><name>tell</name><executable>tell.sh</executable></command>
      <active-response><command>tell</command><location>server</location><level>12</level></active-response>
      <auth><use_password>yes</use_password></auth></ossec_config>""")
    written = hidsctl("migrate", home, "--to", to)
    assert written.returncode == 0, written.stderr
    assert "server_agent" in written.stdout
    assert "authd.pass" in written.stdout
    assert "disabled = true" in (to / "manager.toml").read_text()
    assert "password_file" not in (to / "manager.toml").read_text()


def test_an_output_whose_library_is_missing_keeps_no_manager_from_starting(tmp_path: Path) -> None:
    home, to = tmp_path / "ossec", tmp_path / "new"
    (home / "etc").mkdir(parents=True)
    (home / "etc/ossec.conf").write_text("""<ossec_config><syslog_output><server>192.0.2.1</server></syslog_output>
      <database_output><type>mysql</type><hostname>db</hostname><username>u</username><database>o</database></database_output>
      </ossec_config>""")
    # where sqlalchemy is installed, too, this process has none
    program = "import sys; sys.modules['sqlalchemy'] = None; from hids.cli.hidsctl import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "migrate", home, "--to", to], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "note: output sql is a comment" in done.stdout
    written = (to / "manager.toml").read_text()
    assert [output["name"] for output in tomli.loads(written)["output"]] == ["syslog"]
    restored = "\n".join(line.removeprefix("# ") for line in written.splitlines())
    assert [output["name"] for output in tomli.loads(restored)["output"]] == ["syslog", "sql"]


def test_the_managers_user_can_read_what_root_wrote(tmp_path: Path) -> None:
    home, to = tmp_path / "ossec", tmp_path / "new"
    for name, text in {
        "etc/ossec.conf": CONF.replace("<osquery/>", "<rules><include>local_rules.xml</include></rules>"),
        "rules/local_rules.xml": '<group name="l,"></group>',
        "etc/shared/agent.conf": "<agent_config><localfile><location>/var/log/b.log</location></localfile></agent_config>",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    with_umask = ["sh", "-c", 'umask 077 && exec "$@"', "sh", sys.executable, "-m", "hids.cli.hidsctl"]
    done = subprocess.run([*with_umask, "migrate", home, "--to", to], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = [to, *to.rglob("*")]
    assert {"manager.toml", "agents.d", "local_rules.xml"} <= {path.name for path in written}
    assert [path for path in written if not path.stat().st_mode & 0o004] == []
