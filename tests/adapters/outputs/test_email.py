"""A real SMTP server takes the mails, with TLS and a password; what an attacker wrote breaks none of them."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from certificates import certificate
from sample_alerts import alert, incident
from sinks import MailSink
from waiting import SetClock

from hids.adapters.outputs.email import EmailDestination
from hids.adapters.outputs.mailqueue import KEPT
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Email


@pytest.fixture
def sink() -> Iterator[MailSink]:
    sink = MailSink()
    sink.start()
    yield sink
    sink.stop()


class Bench:
    """A destination with its queue in a folder, and what it set aside."""

    def __init__(self, folder: Path, port: int, **more: Any) -> None:
        members = {"to": ["ops@example.org"], "from": "hids@example.org", "server": f"127.0.0.1:{port}", "tls": "none"}
        self.email = Email(
            **{("sender" if name == "from" else name): value for name, value in (members | more).items()}  # type: ignore[arg-type]
        )
        self.clock = SetClock()
        self.dead: list[tuple[bytes, str]] = []
        self.folder = folder
        self.destination = self.fresh()

    def fresh(self) -> EmailDestination:
        return EmailDestination(self.email, self.folder, self.clock, lambda line, why: self.dead.append((line, why)))

    async def post(self, *lines: bytes, last: int = 0) -> None:
        first = int(re.search(rb'"number":(\d+)', lines[0])[1])  # type: ignore[index]
        await self.destination.post(Delivery(first, last or first + len(lines) - 1, lines))

    async def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        due_s = self.destination.due_s()
        if due_s is not None and due_s <= 0:
            await self.destination.flush()


def run(test: Callable[[], Awaitable[None]], *benches: Bench) -> None:
    async def main() -> None:
        await test()
        for bench in benches:
            await bench.destination.close()

    asyncio.run(main())


def body(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def subject(mail: EmailMessage) -> str:
    return str(mail["Subject"]).strip()  # a long one begins on a line of its own


def test_one_alert_is_one_mail_with_all_that_is_known(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="single", reply_to="soc@example.org", to=["a@example.org", "b@example.org"])

    async def test() -> None:
        await bench.post(alert(1), alert(2))
        assert bench.destination.due_s() is None

    run(test, bench)
    assert len(sink.mails) == 2
    mail = sink.mails[0]
    assert subject(mail) == "[hids] level 5 on web1: sshd: a login with an unknown user name failed."
    assert (mail["From"], mail["Reply-To"]) == ("hids@example.org", "soc@example.org")
    assert mail["To"] == "a@example.org, b@example.org"
    assert mail["X-Recipients"] == "a@example.org b@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "  srcip: 192.0.2.7\n" in body(mail)
    assert "<th align='left'>srcip</th><td>192.0.2.7</td>" in body(mail, "html")
    assert len({mail["Message-ID"] for mail in sink.mails}) == 2


def test_alerts_that_come_together_share_a_mail_after_a_while(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="grouped", group_s=30)

    async def test() -> None:
        await bench.post(alert(1), alert(2, rule={"level": 7}))
        assert bench.destination.due_s() == 30
        await bench.later(20)
        await bench.post(alert(3))
        assert sink.mails == []
        await bench.later(10)

    run(test, bench)
    (mail,) = sink.mails
    assert subject(mail).startswith("[hids] 3 alerts, highest level 7: ")
    assert all(f"007-1-{number}" in body(mail) for number in (1, 2, 3))


def test_the_limit_holds_others_but_never_what_is_urgent(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="single", max_per_hour=3, urgent=12)

    async def test() -> None:
        for number in range(1, 11):
            await bench.post(alert(number))
        assert len(sink.mails) == 3
        await bench.post(alert(11, rule={"level": 12}), alert(12))
        assert [subject(mail)[:15] for mail in sink.mails[3:]] == ["[hids] level 12"]
        assert bench.destination.due_s() == 3600
        await bench.later(3600)

    run(test, bench)
    assert subject(sink.mails[4]).startswith("[hids] 8 alerts")
    assert len(sink.mails) == 5


def test_a_flood_is_one_digest_that_counts_what_it_does_not_show(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="digest", digest_s=3600)

    async def test() -> None:
        for first in range(1, 2001, 100):
            await bench.post(*(alert(n, rule={"level": 9 if n == 1777 else 5}) for n in range(first, first + 100)))
        await bench.later(3599)
        assert sink.mails == []
        await bench.later(1)

    run(test, bench)
    (mail,) = sink.mails
    assert subject(mail).startswith("[hids] 2000 alerts, highest level 9: ")
    assert f"{2000 - KEPT:>8} level  5 rule 201210: " in body(mail)
    assert "007-1-1777\n" in body(mail)


def test_an_incident_is_a_thread(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="grouped", group_s=0, send="incidents")

    async def test() -> None:
        await bench.post(incident(17, rule={"description": "brute force"}), incident(18, root=18))
        await bench.post(incident(20, "level", rule={"description": "it worked", "level": 15}))

    run(test, bench)
    first, other, later = sink.mails
    assert first["Message-ID"] == "<incident.007-1-17.email@example.org>"
    assert other["Message-ID"] == "<incident.007-1-18.email@example.org>"
    assert first["References"] is None
    assert later["References"] == later["In-Reply-To"] == first["Message-ID"]
    assert subject(later) == f"Re: {first['Subject']}"
    assert "its level rises. srcip=192.0.2.7" in body(later)


def test_a_mail_that_was_taken_without_an_answer_comes_again_as_the_same(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="grouped", group_s=0, timeout_s=1)

    async def test() -> None:
        sink.dies_after_taking = True
        with pytest.raises(Refused):
            await bench.post(alert(1))
        await bench.destination.close()
        sink.dies_after_taking = False
        bench.destination = bench.fresh()
        await bench.post(alert(1))
        await bench.post(alert(2))

    run(test, bench)
    ids = [mail["Message-ID"] for mail in sink.mails]
    assert (len(ids), ids[0]) == (3, ids[1])
    assert ids[2] != ids[1]


def test_a_server_that_is_away_gets_it_later(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="single")
    sink.stop()

    async def test() -> None:
        with pytest.raises(Refused, match="127.0.0.1"):
            await bench.post(alert(1))
        assert bench.destination.due_s() == 0
        sink.start()
        await bench.destination.flush()

    run(test, bench)
    assert len(sink.mails) == 1


def test_what_is_refused_for_good_is_set_aside_and_for_now_is_tried_again(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="single")

    async def test() -> None:
        sink.answer = "451 later"
        with pytest.raises(Refused, match="451"):
            await bench.post(alert(1))
        assert bench.dead == []
        sink.answer = "554 this is spam\x1b[31m"
        await bench.destination.flush()
        sink.answer = ""
        await bench.post(alert(2))

    run(test, bench)
    assert bench.dead[0][0] == alert(1)
    assert "554" in bench.dead[0][1]
    assert "\x1b" not in bench.dead[0][1]
    assert len(sink.mails) == 1


def test_a_recipient_that_is_refused_does_not_keep_it_from_others(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="single", to=["gone@example.org", "ops@example.org"])
    sink.refused_recipients = {"gone@example.org"}
    run(lambda: bench.post(alert(1)), bench)
    assert sink.mails[0]["X-Recipients"] == "ops@example.org"


def test_a_phone_gets_160_characters_of_text(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="single", format="sms")
    run(lambda: bench.post(alert(1, rule={"description": "x" * 500})), bench)
    assert len(body(sink.mails[0]).strip()) == 160
    assert len(subject(sink.mails[0])) == 60
    assert sink.mails[0].get_content_type() == "text/plain"


def test_a_server_that_answers_nonsense_is_refused(tmp_path: Path):
    async def test() -> None:
        async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 \xff\x00\r\n" * 1000)
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        bench = Bench(tmp_path, server.sockets[0].getsockname()[1], mode="single", timeout_s=1)
        with pytest.raises(Refused):
            await bench.post(alert(1))
        await bench.destination.close()
        server.close()

    asyncio.run(test())


def test_a_server_that_hangs_is_given_up(tmp_path: Path):
    async def test() -> None:
        async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 hello\r\n")
            parked.append(writer)

        parked: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        bench = Bench(tmp_path, server.sockets[0].getsockname()[1], mode="single", timeout_s=0.1)
        with pytest.raises(Refused, match="Timeout"):
            await bench.post(alert(1))
        await bench.destination.close()
        for writer in parked:
            writer.close()
        server.close()

    asyncio.run(test())


def secured(folder: Path, *, implicit: bool) -> tuple[MailSink, Path]:
    """A server that wants TLS and a password."""
    pem = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
        good = isinstance(login, LoginPassword) and (login.login, login.password) == (b"hids", b"a password")
        return AuthResult(success=good, handled=False)

    options: dict[str, Any] = {"authenticator": check, "auth_required": True}
    options |= {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": True}
    return MailSink(**options), pem


@pytest.mark.parametrize("kind", ["starttls", "tls"])
@pytest.mark.parametrize("fault", ["", "password", "certificate", "mode"])
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_over_tls_with_a_password(tmp_path: Path, kind: Any, fault: str):
    sink, pem = secured(tmp_path, implicit=kind == "tls")
    if kind == "tls":
        sink.options["auth_require_tls"] = False  # to the library only STARTTLS is TLS
    sink.start()
    secret = tmp_path / "secret"
    secret.write_text("wrong\n" if fault == "password" else "a password\n")
    secret.chmod(0o644 if fault == "mode" else 0o600)
    bench = Bench(
        tmp_path,
        sink.port,
        mode="single",
        tls=kind,
        user="hids",
        password_file=str(secret),
        ca_file="" if fault == "certificate" else str(pem),
    )

    async def test() -> None:
        if not fault:
            await bench.post(alert(1))
            return
        with pytest.raises(Refused, match={"password": "535", "certificate": "CERT|cert", "mode": "chmod 600"}[fault]):
            await bench.post(alert(1))

    run(test, bench)
    sink.stop()
    assert len(sink.mails) == (0 if fault else 1)


def test_a_header_cannot_be_broken_out_of(tmp_path: Path, sink: MailSink):
    bench = Bench(tmp_path, sink.port, mode="single")
    evil = "x\r\nBcc: victim@example.org\r\n\r\n<script>alert(1)</script>"
    line = alert(1, rule={"description": evil}, agent={"id": "007", "name": evil}, full_log=f"{evil}\n.\n")
    run(lambda: bench.post(line), bench)
    (mail,) = sink.mails
    assert mail["Bcc"] is None
    assert mail["X-Recipients"] == "ops@example.org"
    assert "\\x0d\\x0aBcc: victim@example.org" in subject(mail)
    assert "<script>" not in body(mail, "html")
