"""Times as people write them on a command line."""

import re
from datetime import datetime, timedelta

import typer

from hids.core.alert.text import plain

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d{1,6})([smhdw])")


def moment(value: str | None, option: str, now_ms: int) -> int | None:
    """A time in milliseconds since the epoch; None for None.

    Raises:
        typer.BadParameter: neither 10m, 2h or 3d (ago) nor a time.
    """
    if value is None:
        return None
    if ago := _AGO.fullmatch(value):
        return now_ms - int(timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds() * 1000)
    try:
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"expected 10m, 2h or 3d (ago), or a time such as 2026-11-24T03:21, got {plain(value)!r}",
            param_hint=option,
        ) from None
