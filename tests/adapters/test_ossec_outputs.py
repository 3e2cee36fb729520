"""Tables made of an ossec.conf are read by manager.toml's reader, and what differs is said."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.adapters.ossec_outputs import PASSWORD_FILE, SQL_PASSWORD_FILE, ossec_outputs
from hids.core.outputs import Email, Sql, SyslogOutput
from hids.errors import ConfigError
from hids.manager.config import read_config

CONF = b"""
<ossec_config>
  <global>
    <email_notification>yes</email_notification>
    <email_to>ops@example.org</email_to>
    <email_to>boss@example.org, night@example.org</email_to>
    <email_from>ossec@example.org</email_from>
    <email_reply_to>soc@example.org</email_reply_to>
    <smtp_server>mail.example.org</smtp_server>
    <smtp_port>587</smtp_port>
    <auth_smtp>yes</auth_smtp>
    <smtp_user>ossec</smtp_user>
    <smtp_password>do not print me</smtp_password>
    <secure_smtp>yes</secure_smtp>
    <email_maxperhour>30</email_maxperhour>
    <prelude_output>yes</prelude_output>
  </global>
  <alerts><email_alert_level>9</email_alert_level></alerts>
  <email_alerts>
    <email_to>phone@example.org</email_to>
    <format>sms</format>
    <group>sshd|pam,</group>
    <rule_id>5710, 5712</rule_id>
    <event_location>web1|^mail</event_location>
    <do_not_delay />
    <do_not_group />
  </email_alerts>
  <syslog_output>
    <server>10.1.1.1</server>
    <level>5</level>
    <format>cef</format>
    <location>/var/log/auth.log</location>
    <use_fqdn>yes</use_fqdn>
  </syslog_output>
</ossec_config>
<ossec_config>
  <syslog_output>
    <server>2001:db8::5</server>
    <port>6515</port>
    <tls>yes</tls>
    <tls_verify>no</tls_verify>
    <tls_ca>/etc/ssl/log-ca.pem</tls_ca>
    <format>json</format>
  </syslog_output>
</ossec_config>
"""


def test_what_a_configuration_says_is_what_manager_toml_reads(tmp_path: Path):
    found = ossec_outputs("ossec.conf", CONF)
    path = tmp_path / "manager.toml"
    path.write_text(found.toml())
    server = {
        "sender": "ossec@example.org",
        "reply_to": "soc@example.org",
        "server": "mail.example.org:587",
        "tls": "starttls",
        "user": "ossec",
        "password_file": PASSWORD_FILE,
        "max_per_hour": 30,
    }
    assert read_config(path).output == (
        Email(to=("ops@example.org", "boss@example.org", "night@example.org"), level=9, **server),  # type: ignore[arg-type]
        Email(
            name="email-2",
            to=("phone@example.org",),
            rules=(5710, 5712),
            groups=("sshd", "pam"),
            locations=("web1", "^mail"),
            level=9,
            format="sms",
            mode="single",
            urgent=0,
            **server,  # type: ignore[arg-type]
        ),
        SyslogOutput(server="10.1.1.1:514", format="cef", level=5, locations=("/var/log/auth.log",), use_fqdn=True),
        SyslogOutput(
            name="syslog-2",
            server="[2001:db8::5]:6515",
            protocol="tls",
            format="json",
            ca_file="/etc/ssl/log-ca.pem",
        ),
    )
    assert "do not print me" not in found.toml()
    notes = "\n".join(found.notes)
    assert all(word in notes for word in ("prelude_output", "smtp_password", "tls_verify", "alert_by_email"))


def test_without_notification_there_is_no_mail():
    found = ossec_outputs("c", b"<ossec_config><email_alerts><email_to>a@b.c</email_to></email_alerts></ossec_config>")
    assert found.tables == []
    assert "email_notification" in found.notes[0]


def test_ossecs_own_level_is_what_its_rules_say_of_mail():
    conf = CONF.replace(b"<email_alert_level>9</email_alert_level>", b"")
    conf = conf.replace(b"<format>sms</format>", b"<level>10</level>")
    found = ossec_outputs("c", conf)
    assert [(table.get("mail"), table.get("level")) for table in found.tables[:2]] == [(True, None), (True, 10)]
    assert "alert_by_email" not in "\n".join(found.notes)


def test_what_manager_toml_would_refuse_is_left_out_and_named():
    found = ossec_outputs("c", b"<ossec_config><syslog_output><server>a b</server></syslog_output></ossec_config>")
    assert found.tables == []
    assert 'syslog is left out: server: expected "host:port"' in found.notes[0]


@pytest.mark.parametrize(
    "conf", [b"<ossec_config>", b"<ossec_config><syslog_output><level>x</level></syslog_output></ossec_config>"]
)
def test_what_cannot_be_read_is_refused(conf: bytes):
    with pytest.raises(ConfigError):
        ossec_outputs("c", conf)


@given(st.text(st.characters(codec="utf-8", exclude_characters="<>&"), max_size=30))
def test_any_text_stays_within_its_value(text: str):
    conf = f"<o><syslog_output><server>h</server><location>{text}</location></syslog_output></o>".encode()
    try:
        found = ossec_outputs("c", conf)
    except ConfigError:
        return
    import tomli  # noqa: PLC0415 - only here

    assert tomli.loads(found.toml()).get("output", []) == found.tables


DATABASE = b"""
<ossec_config>
  <global><zeromq_output>yes</zeromq_output><zeromq_uri>tcp://localhost:11111/</zeromq_uri></global>
  <database_output>
    <hostname>192.0.2.30</hostname>
    <username>ossecuser</username>
    <password>do not print me</password>
    <database>ossec</database>
    <type>postgresql</type>
    <port>5433</port>
  </database_output>
</ossec_config>
"""


def test_a_database(tmp_path: Path):
    found = ossec_outputs("ossec.conf", DATABASE)
    path = tmp_path / "manager.toml"
    path.write_text(found.toml())
    assert read_config(path).output == (
        Sql(url="postgresql://ossecuser@192.0.2.30:5433/ossec", password_file=SQL_PASSWORD_FILE),
    )
    assert "do not print me" not in found.toml()
    assert any(SQL_PASSWORD_FILE in note for note in found.notes)
    assert any("zeromq_output has no counterpart" in note for note in found.notes)


def test_without_its_library_a_database_is_a_comment_to_take_the_marks_from(tmp_path: Path):
    asked: list[str] = []
    found = ossec_outputs("ossec.conf", DATABASE, lambda module: bool(asked.append(module)))
    assert (asked, found.waiting) == (["sqlalchemy"], {"sql"})
    (note,) = (note for note in found.notes if "is a comment" in note)
    assert "pip install 'hids[sql]'" in note
    text = msgspec.structs.replace(found, notes=[]).toml()
    path = tmp_path / "manager.toml"
    path.write_text(text)
    assert read_config(path).output == ()
    path.write_text(text.replace("# ", ""))
    assert [output.type for output in read_config(path).output] == ["sql"]


def test_a_database_of_a_kind_that_there_is_not():
    found = ossec_outputs("ossec.conf", DATABASE.replace(b"postgresql", b"oracle"))
    assert found.tables == []
    assert any("output sql is left out: url: expected" in note for note in found.notes)
