"""Main and those who keep what was written: the archive of all batches, and the keeper.

main --Job--> archive --ArchiveReady, Kept, Said--> main;  keeper --Said--> main
"""

import msgspec

from hids.messages.evaluation import Job
from hids.messages.supervision import Pulse
from hids.messages.terms import SourceId


class Said(msgspec.Struct, frozen=True, tag="said"):
    """keeper, archive -> main: something about the manager that the rules shall see."""

    text: str


class ArchiveReady(msgspec.Struct, frozen=True, tag="archive_ready"):
    """archive -> main at its start: send me what I have not said `Kept` of."""


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """archive -> main: these batches are on disk, or it is told that they are not; their outcomes may go on."""

    batches: tuple[tuple[SourceId, int, int], ...]
    """(source, epoch, first sequence) of each."""


FromKeeper = Said | Pulse

ToArchive = Job

FromArchive = ArchiveReady | Kept | Said | Pulse
