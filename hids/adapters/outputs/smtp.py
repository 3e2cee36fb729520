"""SMTP: a session with the mail server of an `[[output]]` of type email, and the head that all our mails have."""

import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import formatdate
from pathlib import Path
from typing import Self

import aiosmtplib
import structlog

from hids.adapters.files import read_private
from hids.core.alert.text import plain
from hids.core.delivery import Refused
from hids.core.outputs import Email, server_of
from hids.errors import ConfigError, StoreError

log = structlog.get_logger()

_PERMANENT = 500
"""SMTP's answers from here on: the same will never be taken (RFC 5321 4.2.1)."""


def begin_mail(email: Email, to: Sequence[str], subject: str, message_id: str, at_ms: int) -> EmailMessage:
    """A mail without its text."""
    message = EmailMessage(policy=POLICY)
    message["From"] = email.sender
    message["To"] = ", ".join(to)
    if email.reply_to:
        message["Reply-To"] = email.reply_to
    message["Subject"] = plain(subject)
    message["Date"] = formatdate(at_ms / 1000, localtime=True)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    return message


def domain_of(email: Email) -> str:
    """What stands after the @ in our Message-IDs."""
    return email.sender.rpartition("@")[2]


class MailServer:
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

    async def send(self, message: EmailMessage, to: Sequence[str]) -> str:
        """Hand over a mail; returns why it will never be taken, or nothing.

        Raises:
            Refused: not now.
        """
        email = self._email
        try:
            failed, _ = await self._smtp.sendmail(email.sender, list(to), message.as_bytes())
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
