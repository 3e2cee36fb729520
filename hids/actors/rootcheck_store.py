"""RootcheckStore: what agents' rootcheck says goes into rootcheck.db, so that people can ask what is outstanding.

    syscheck store --Applied--> rootcheck store --Applied--> ledger

State    in the file, written before the ledger commits: after a crash the same batches come again, and are
         known by their place.
Fails    a file that cannot be written is logged, and the lines go on: alerts do not wait for it, and each scan's end names all
         that is there.
"""

import sqlite3
from typing import Protocol

import msgspec
import structlog

from hids.actors.stage import LoopActor, Mailbox
from hids.core.rootcheck.report import Said, understand
from hids.messages.lane import Applied, Place
from hids.ports import Emit

log = structlog.get_logger()


class FindingsFile(Protocol):
    """Where findings are kept; see hids.adapters.findings."""

    def note(self, agent: str, name: str, place: Place, said: list[tuple[int, Said]]) -> None:
        """Take what an agent said, once for each place."""
        ...


class RootcheckStore(LoopActor):
    """Note the findings of one outcome after another."""

    def __init__(self, mailbox: Mailbox, file: FindingsFile, emit: Emit[Applied]) -> None:
        super().__init__(mailbox)
        self._file = file
        self._emit = emit
        self._noted = 0
        self._failed = 0

    def on_receive(self, message: Applied) -> None:
        """Note, and hand on."""
        if message.findings and message.progress is not None:
            place = Place(message.source, message.progress.epoch, message.progress.seq)
            said = [(at_ms, understand(text)) for at_ms, text in message.findings]
            try:
                self._file.note(message.agent.id, message.agent.name, place, said)
                self._noted += len(said)
            except sqlite3.Error as error:
                self._failed += 1
                log.error("rootcheck's findings cannot be kept", reason=str(error), to_do="make room on the disk")  # noqa: TRY400
            message = msgspec.structs.replace(message, findings=())
        self._emit(message)

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"lines": self._noted, "failed": self._failed}
