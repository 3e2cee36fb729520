"""Mailer: hands one mail to the mail server of an `[[output]]` of type email, for who is no output himself."""

import asyncio
from email.message import EmailMessage, MIMEPart

from hids.adapters.outputs.smtp import MailServer, begin_mail, domain_of
from hids.core.delivery import Refused
from hids.core.outputs import Email
from hids.errors import StoreError
from hids.ports import Mail

TRIES_S = 3.0
"""A mail may take so many times the output's `timeout_s`, whatever the server does byte by byte."""


class SmtpMailer:
    """See `hids.ports.Mailer`. Blocks: for a thread without an event loop."""

    def __init__(self, email: Email) -> None:
        """`email` says which server, how, and from whom; its recipients and filters do not matter."""
        self._email = email

    def send(self, mail: Mail) -> str:
        """See `hids.ports.Mailer`."""
        try:
            return asyncio.run(self._send(mail))
        except Refused as refused:
            raise StoreError(str(refused)) from refused
        except TimeoutError as error:
            raise StoreError(f"{self._email.server}: no end within {TRIES_S * self._email.timeout_s:g} s") from error

    async def _send(self, mail: Mail) -> str:
        async with asyncio.timeout(TRIES_S * self._email.timeout_s), MailServer(self._email) as server:
            return await server.send(self._message(mail), mail.to)

    def _message(self, mail: Mail) -> EmailMessage:
        email = self._email
        subject = f"[{email.prefix}] {mail.subject}" if email.prefix else mail.subject
        message = begin_mail(email, mail.to, subject, f"<{mail.id}@{domain_of(email)}>", mail.made_ms)
        message.set_content(mail.text, cte="quoted-printable")
        message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
        html = message.get_body(("html",))
        for name, picture in mail.pictures.items():
            assert isinstance(html, MIMEPart)  # noqa: S101 - added above
            html.add_related(picture, "image", "png", cid=f"<{name}>", disposition="inline", filename=f"{name}.png")
        return message
