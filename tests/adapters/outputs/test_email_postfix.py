"""A real Postfix takes mails over STARTTLS and delivers them, and refuses what it should."""

import asyncio
import email
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from email.policy import default
from pathlib import Path

import pytest
from certificates import certificate
from sample_alerts import alert
from sinks import free_port
from waiting import SetClock, until

from hids.adapters.outputs.email import EmailDestination
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Email

POSTFIX = shutil.which("postfix", path="/usr/sbin:/usr/bin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        POSTFIX is None or os.geteuid() != 0, reason="needs Postfix, and root to start an instance of it"
    ),
]


class Postfix:
    """An instance of its own, with its queue and mailboxes below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.inbox = folder / "mail" / "ops" / "new"
        self.pem = certificate(folder)
        conf = folder / "conf"
        for name in ("conf", "queue", "data", "mail"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        shutil.chown(folder / "mail", "nobody")
        (conf / "main.cf").write_text(
            f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
virtual_mailbox_domains = example.org
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {{ ops@example.org = ops/ }} }}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {self.pem}
"""
        )
        (conf / "master.cf").write_text(
            f"""127.0.0.1:{self.port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
"""
        )

    def run(self, command: str) -> None:
        assert POSTFIX is not None
        subprocess.run([POSTFIX, "-c", str(self.folder / "conf"), command], check=True, capture_output=True, timeout=30)


@pytest.fixture
def postfix() -> Iterator[Postfix]:
    folder = Path(tempfile.mkdtemp(prefix="hids-postfix-"))
    folder.chmod(0o755)  # its own users must reach it; pytest's folders are closed
    postfix = Postfix(folder)
    postfix.run("start")
    yield postfix
    postfix.run("abort")
    shutil.rmtree(folder)


def test_postfix_delivers_what_it_took(postfix: Postfix, tmp_path: Path):
    def destination(to: str) -> EmailDestination:
        settings = Email(
            to=(to,),
            sender="hids@example.net",
            server=f"127.0.0.1:{postfix.port}",
            ca_file=str(postfix.pem),
            mode="single",
        )
        return EmailDestination(settings, tmp_path, SetClock(), lambda _alert, _reason: None)

    async def main() -> None:
        good = destination("ops@example.org")
        line = alert(1, rule={"description": "one .\n.\nline \u00e9\u202e"}, full_log="x" * 3000)
        await good.post(Delivery(1, 1, (line,)))
        await until(lambda: postfix.inbox.is_dir() and list(postfix.inbox.iterdir()), "it is in the inbox", 20)
        await good.close()
        (tmp_path / "email-email.queue").unlink()
        other = destination("ops@elsewhere.example")
        with pytest.raises(Refused, match="454|554|550"):
            await other.post(Delivery(1, 1, (alert(1),)))
        await other.close()

    asyncio.run(main())
    (path,) = postfix.inbox.iterdir()
    mail = email.message_from_bytes(path.read_bytes(), policy=default)
    assert str(mail["Subject"]).strip() == "[hids] level 5 on web1: one .\\x0a.\\x0aline \u00e9\\u202e"
    assert " with ESMTPS " in str(mail["Received"])
    part = mail.get_body(("plain",))  # type: ignore[attr-defined]
    assert "x" * 3000 in part.get_content()
