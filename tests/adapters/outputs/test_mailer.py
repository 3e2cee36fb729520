"""A real SMTP server takes a report with its picture, and says no; one that hangs or drips is left."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sinks import MailSink

from hids.adapters.outputs.mailer import TRIES_S, SmtpMailer
from hids.core.outputs import Email
from hids.errors import StoreError
from hids.ports import Mail

MAIL = Mail(
    "report.2026-11-24-daily-all",
    1_795_490_503_123,
    ("boss@example.org", "soc@example.org"),
    "All, 2026-11-24: 3 alerts\r\nBcc: evil@example.org",
    "text\n" + "ä" * 2000,
    '<p>page <img src="cid:timeline"/></p>',
    {"timeline": b"\x89PNG\r\n\x1a\n"},
)


@pytest.fixture
def sink() -> Iterator[MailSink]:
    sink = MailSink()
    sink.start()
    yield sink
    sink.stop()


def mailer(port: int, **more: Any) -> SmtpMailer:
    return SmtpMailer(
        Email(to=("ops@example.org",), sender="hids@example.org", server=f"127.0.0.1:{port}", tls="none", **more)
    )


def test_a_report_arrives_with_its_picture(sink: MailSink):
    for _ in range(2):
        assert mailer(sink.port, reply_to="help@example.org").send(MAIL) == ""
    mail, again = sink.mails
    assert mail["X-Recipients"] == "boss@example.org soc@example.org"
    assert mail["To"] == "boss@example.org, soc@example.org"
    assert (mail["From"], mail["Reply-To"]) == ("hids@example.org", "help@example.org")
    assert mail["Bcc"] is None
    assert str(mail["Subject"]).startswith("[hids] All, 2026-11-24: 3 alerts")
    assert mail["Message-ID"] == again["Message-ID"] == "<report.2026-11-24-daily-all@example.org>"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == f"{MAIL.text}\n"
    assert "cid:timeline" in html.get_content()
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert (picture["Content-ID"], picture.get_content()) == ("<timeline>", MAIL.pictures["timeline"])
    assert [part.get_content_type() for part in mail.walk()] == [
        *("multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png")
    ]


def test_a_server_says_later_or_never(sink: MailSink):
    sink.answer = "451 later"
    with pytest.raises(StoreError, match="451"):
        mailer(sink.port).send(MAIL)
    sink.answer = "554 spam"
    assert "554" in mailer(sink.port).send(MAIL)
    sink.stop()
    with pytest.raises(StoreError, match=f"127.0.0.1:{sink.port}"):
        mailer(sink.port).send(MAIL)
    sink.start()


@contextmanager
def dripping() -> Iterator[int]:
    """A server that greets with a byte each 20 ms, and never comes to an end of it."""
    over = threading.Event()

    def drip() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            while not over.wait(0.02):
                connection.sendall(b"2")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip)
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        thread.join()


def test_a_server_that_never_comes_to_an_end_is_left():
    assert TRIES_S > 1
    with dripping() as port, pytest.raises(StoreError, match=rf"127\.0\.0\.1:{port}"):
        mailer(port, timeout_s=0.1).send(MAIL)
