"""Keeping: what the keeper is told of where things lie and how long they stay."""

import msgspec

from hids.core.outputs import Email
from hids.core.report_schedule import Scheduled
from hids.core.retention import Limit


class Keeping(msgspec.Struct, frozen=True):
    """Paths are absolute."""

    alerts: str
    """Folder of the alert files."""
    evidence: str
    """Folder of key and heads."""
    lib: str
    """Folder of what is remembered."""
    limit: Limit
    compress: bool = True
    archive: str = ""
    """Folder of the archive; empty: there is none."""
    archive_limit: Limit = Limit()
    reports: str = ""
    """Folder of the reports."""
    search: str = ""
    """The search index."""
    scheduled: tuple[Scheduled, ...] = ()
    mail: Email | None = None
    """Through whose server reports are mailed; None: none are."""
    anchor_file: str = ""
    anchor_command: tuple[str, ...] = ()
    anchor_s: float = 60.0
