"""E-mail: alerts to people over SMTP, one a mail, in groups, or as a digest; incidents as threads.

A delivery is taken when its alerts are in the mail queue, which is durable. From there they go as their output says: urgent ones
at once, others when they have been gathered, and never more mails within an hour than `max_per_hour`: what is over it waits
and shares a mail. A mail is the same in every try, under the same Message-ID, so that one that came twice is known.
"""

import hashlib
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import structlog

from hids.adapters.outputs.mailqueue import Mail, MailQueue, Waiting
from hids.adapters.outputs.smtp import MailServer, begin_mail, domain_of
from hids.core.alert.letter import Letter, letter
from hids.core.alert.mailing import parts, wait_ms
from hids.core.alert.view import View, view
from hids.core.delivery import Delivery, Refused, read_each, refuse_odd
from hids.core.outputs import Email
from hids.errors import StoreError
from hids.ports import Clock

log = structlog.get_logger()


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
            async with MailServer(self._email) as server:
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

    async def _send(self, server: MailServer, mail: Mail) -> None:
        alerts = [view(line) for line in mail.alerts]
        written = letter(alerts, mail.more, self._email.format, self._email.prefix)
        subject = written.subject
        first = self._queue.subject_of(mail.thread) if mail.thread else None
        if first is not None:
            subject = f"Re: {first}"
        message = self._message(mail, alerts, written, subject)
        refused = await server.send(message, self._email.to)
        if refused:
            log.error("mail is refused for good", output=self._email.output, reason=refused, mail=message["Message-ID"])
            for line in mail.alerts:
                self._set_aside(line, refused)
        self._queue.sent(mail, first or subject, self._clock.now_ms())

    def _message(self, mail: Mail, alerts: list[View], written: Letter, subject: str) -> EmailMessage:
        email = self._email
        domain = domain_of(email)
        root = f"<incident.{_word(mail.thread)}.{email.name}@{domain}>" if mail.thread else ""
        begins = bool(root) and any(a.hids.incident is not None and a.hids.incident.news == "first" for a in alerts)
        message_id = root if begins else f"<mail.{mail.id}.{self._queue.token}.{email.name}@{domain}>"
        message = begin_mail(email, email.to, subject, message_id, self._clock.now_ms())
        if root and not begins:
            message["In-Reply-To"] = message["References"] = root
        message.set_content(written.text, cte="quoted-printable")
        if written.html:
            message.add_alternative(written.html, subtype="html", cte="quoted-printable")
        return message


def _word(text: str) -> str:
    """An id as a part of a Message-ID."""
    return "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in text)[:100]
