"""Mails that wait to be sent: one file each in a folder, so that no restart forgets one.

A mail that the server takes while our disk fails comes again, under the same Message-ID.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import structlog

from hids.adapters.files import private_folder, write_atomically
from hids.errors import StoreError
from hids.ports import Clock, Mail, Mailer

log = structlog.get_logger()

WAIT_MS = 7 * 24 * 3_600_000
"""A mail waits so long for its server, then it is given up, and that is said."""
AT_MOST = 1_000
"""Mails that wait; another one is refused."""
_SUFFIX = ".mail"

_decode = msgspec.json.Decoder(Mail).decode


class MailSpool:
    """For one thread."""

    def __init__(self, folder: Path, mailer: Mailer, clock: Clock) -> None:
        self._folder = folder
        self._mailer = mailer
        self._clock = clock

    def add(self, mail: Mail) -> None:
        """Take a mail; one of the same id takes the place of what waits.

        Raises:
            StoreError: the disk does not take it, or too many wait.
        """
        private_folder(self._folder)
        if len(self._waiting()) >= AT_MOST:
            raise StoreError(f"{self._folder}: {AT_MOST} mails wait already; see why the mail server takes none")
        write_atomically(self._folder / f"{mail.id}{_SUFFIX}", msgspec.json.encode(mail))

    def run(self) -> list[str]:
        """Send what waits, the oldest first; returns what the rules shall see.

        Raises:
            StoreError: the server does not take one now; those after it wait, too.
        """
        told: list[str] = []
        waiting = self._waiting()
        for number, path in enumerate(waiting):
            mail = self._read(path)
            if mail is None:
                continue
            try:
                refused = self._send(mail)
            except StoreError as error:
                raise StoreError(f"{len(waiting) - number} wait: {error}") from error
            if refused:
                log.error("mail is given up", mail=mail.id, subject=mail.subject, reason=refused)
                told.append(f"report not mailed: {mail.subject}: {refused}")
            path.unlink(missing_ok=True)
        return told

    def _send(self, mail: Mail) -> str:
        try:
            return self._mailer.send(mail)
        except StoreError as error:
            waits_ms = self._clock.now_ms() - mail.made_ms
            if waits_ms < WAIT_MS:
                raise
            return f"not taken within {timedelta(milliseconds=WAIT_MS).days} days: {error}"

    def _read(self, path: Path) -> Mail | None:
        """The mail in a file; one that is damaged goes, since its report is on disk all the same."""
        try:
            return _decode(path.read_bytes())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("a mail that waited is damaged, and given up", path=str(path), reason=str(error))  # noqa: TRY400 - says it all
            path.unlink(missing_ok=True)
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error

    def _waiting(self) -> list[Path]:
        return [path for _, path in sorted(self._dated())]

    def _dated(self) -> Iterator[tuple[float, Path]]:
        try:
            for path in self._folder.iterdir():
                if path.suffix == _SUFFIX:
                    yield path.stat().st_mtime, path
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self._folder}: cannot be read: {error.strerror}") from error
