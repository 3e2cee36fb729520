"""E-mail: alerts to people over SMTP, one a mail, in groups, or as a digest; incidents as threads.

A delivery is taken when its alerts are in the mail queue, which is durable. From there they go as their output says: urgent ones
at once, others when they have been gathered, and never more mails within an hour than `max_per_hour`: what is over it waits
and shares a mail. A mail is the same in every try, under the same Message-ID, so that one that came twice is known.
"""

import hashlib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import formatdate
from pathlib import Path
from typing import Self

import aiosmtplib
import structlog

from hids.adapters.files import read_private
from hids.adapters.outputs.mailqueue import Mail, MailQueue, Waiting
from hids.core.alert.letter import Letter, letter
from hids.core.alert.mailing import parts, wait_ms
from hids.core.alert.text import plain
from hids.core.alert.view import View, view
from hids.core.delivery import Delivery, Refused, read_each, refuse_odd
from hids.core.outputs import Email, server_of
from hids.errors import ConfigError, StoreError
from hids.ports import Clock

log = structlog.get_logger()

_PERMANENT = 500
"""SMTP's answers from here on: the same will never be taken (RFC 5321 4.2.1)."""


class EmailDestination:
    """Queues and mails. For one event loop."""

    def __init__(self, email: Email, folder: Path, clock: Clock, set_aside: Callable[[bytes, str], None]) -> None:
        """The queue is in `folder`; what a server will never take goes to `set_aside`."""
        self._email = email
        self._clock = clock
        self._set_aside = set_aside
        self._path = folder / f"{email.stem}.queue"
        self._open: MailQueue | None = None

    @property
    def _queue(self) -> MailQueue:
        if self._open is None:
            self._open = MailQueue(self._path)
        return self._open

    async def post(self, delivery: Delivery) -> None:
        """Queue a delivery, and mail what is due. Raises `Refused` when the server does not take a mail."""
        waiting, odd = read_each(delivery, self._waiting)
        email = self._email
        try:
            each = email.mode == "single"
            key = hashlib.sha256(b"\n".join((delivery.id.encode(), *delivery.alerts))).hexdigest()
            self._queue.add(key, waiting, email.urgent, self._clock.now_ms(), each=each)
        except StoreError as error:
            raise Refused(str(error)) from error
        await self.flush()
        refuse_odd(delivery, odd)

    def due_s(self) -> float | None:
        """See `hids.core.delivery.Timed`."""
        try:
            if self._queue.next() is not None:
                return 0.0
            count, since_ms, _ = self._queue.gathered()
            return self._wait_ms(since_ms) / 1000 if count else None
        except StoreError:
            return 1.0  # flush tells it

    async def flush(self, *, everything: bool = False) -> None:
        """Mail what is due. Raises `Refused` when the server does not take one."""
        try:
            self._make(everything=everything)
            mail = self._queue.next()
            if mail is None:
                return
            async with _Server(self._email) as server:
                while mail is not None:
                    await self._send(server, mail)
                    mail = self._queue.next()
        except StoreError as error:
            raise Refused(str(error)) from error

    async def close(self) -> None:
        """Close the queue."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _waiting(self, line: bytes) -> Waiting:
        alert = view(line)
        incident = alert.hids.incident
        thread = incident.id if self._email.send == "incidents" and incident is not None else ""
        rule = alert.rule
        return Waiting(alert.id, alert.hids.number, rule.level, alert.rule_id, rule.description[:200], thread, line)

    def _wait_ms(self, since_ms: int) -> int:
        email, now_ms = self._email, self._clock.now_ms()
        gather_s = {"single": 0.0, "grouped": email.group_s, "digest": email.digest_s}[email.mode]
        return wait_ms(now_ms, since_ms, gather_s, self._queue.made_ms(now_ms), email.max_per_hour)

    def _make(self, *, everything: bool) -> None:
        """Make mails of what is gathered, if it is time."""
        email, now_ms, queue = self._email, self._clock.now_ms(), self._queue
        count, since_ms, threads = queue.gathered()
        if not count or (self._wait_ms(since_ms) and not everything):
            return
        budget = max(1, email.max_per_hour - len(queue.made_ms(now_ms))) if email.max_per_hour else None
        whole = queue.counted() == 0
        queue.make(
            now_ms,
            each=whole and email.mode == "single" and parts(count, budget) == count,
            by_thread=whole and email.mode == "grouped" and parts(len(threads), budget) == len(threads),
        )

    async def _send(self, server: "_Server", mail: Mail) -> None:
        alerts = [view(line) for line in mail.alerts]
        written = letter(alerts, mail.more, self._email.format, self._email.prefix)
        subject = written.subject
        first = self._queue.subject_of(mail.thread) if mail.thread else None
        if first is not None:
            subject = f"Re: {first}"
        message = self._message(mail, alerts, written, subject)
        refused = await server.send(message)
        if refused:
            log.error("mail is refused for good", output=self._email.output, reason=refused, mail=message["Message-ID"])
            for line in mail.alerts:
                self._set_aside(line, refused)
        self._queue.sent(mail, first or subject, self._clock.now_ms())

    def _message(self, mail: Mail, alerts: list[View], written: Letter, subject: str) -> EmailMessage:
        email = self._email
        domain = email.sender.rpartition("@")[2]
        root = f"<incident.{_word(mail.thread)}.{email.name}@{domain}>" if mail.thread else ""
        begins = bool(root) and any(a.hids.incident is not None and a.hids.incident.news == "first" for a in alerts)
        message = EmailMessage(policy=POLICY)
        message["From"] = email.sender
        message["To"] = ", ".join(email.to)
        if email.reply_to:
            message["Reply-To"] = email.reply_to
        message["Subject"] = plain(subject)
        message["Date"] = formatdate(self._clock.now_ms() / 1000, localtime=True)
        message["Message-ID"] = root if begins else f"<mail.{mail.id}.{self._queue.token}.{email.name}@{domain}>"
        if root and not begins:
            message["In-Reply-To"] = message["References"] = root
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(written.text, cte="quoted-printable")
        if written.html:
            message.add_alternative(written.html, subtype="html", cte="quoted-printable")
        return message


class _Server:
    """A session with the mail server: connect, perhaps several mails, quit."""

    def __init__(self, email: Email) -> None:
        self._email = email
        server = server_of(email.server)
        if server is None:
            raise ConfigError(f'[[output]] {email.name}: server: expected "host:port", got {email.server!r}')
        try:
            context = ssl.create_default_context(cafile=email.ca_file or None)
        except OSError as error:
            raise Refused(f"ca_file {email.ca_file}: {error}") from error
        self._smtp = aiosmtplib.SMTP(
            hostname=server[0],
            port=server[1],
            use_tls=email.tls == "tls",
            start_tls=email.tls == "starttls",
            tls_context=context,
            timeout=email.timeout_s,
            local_hostname=email.helo or None,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._smtp.connect()
            if self._email.user:
                await self._smtp.login(self._email.user, self._password())
        except (aiosmtplib.SMTPException, OSError, StoreError) as error:
            self._smtp.close()
            raise self._refused(error) from error
        return self

    async def __aexit__(self, *_failure: object) -> None:
        try:
            if self._smtp.is_connected:
                await self._smtp.quit()
        except (aiosmtplib.SMTPException, OSError):
            pass
        finally:
            self._smtp.close()

    async def send(self, message: EmailMessage) -> str:
        """Hand over a mail; returns why it will never be taken, or nothing.

        Raises:
            Refused: not now.
        """
        email = self._email
        try:
            failed, _ = await self._smtp.sendmail(email.sender, list(email.to), message.as_bytes())
        except aiosmtplib.SMTPDataError as error:
            if error.code >= _PERMANENT:
                return f"the server answers {error.code}: {plain(error.message[:200])}"
            raise self._refused(error) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._refused(error) from error
        for address, answer in failed.items():
            log.error(
                "recipient is refused, others have it", output=email.output, to=address, reason=plain(str(answer))
            )
        return ""

    def _password(self) -> str:
        secret = read_private(Path(self._email.password_file))
        if secret is None or not secret.strip():
            raise StoreError(f"{self._email.password_file}: expected the password of {self._email.user}, found none")
        return secret.strip().decode("utf-8", "replace")

    def _refused(self, error: Exception) -> Refused:
        return Refused(f"{self._email.server}: {type(error).__name__}: {plain(' '.join(str(error).split())[:300])}")


def _word(text: str) -> str:
    """An id as a part of a Message-ID."""
    return "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in text)[:100]
