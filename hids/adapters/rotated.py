"""Where files go whose day is over, and which there are: OSSEC's layout.

    alerts.json      alerts/2026/Nov/ossec-alerts-24.json      then ossec-alerts-24.json.gz
    alerts.log       alerts/2026/Nov/ossec-alerts-24.log
    incidents.json   alerts/2026/Nov/ossec-incidents-24.json

A second file of one day is called ossec-alerts-24-001.json. The seals lie beside each file, under its name and `.chain`.
"""

import re
from datetime import date
from pathlib import Path

import msgspec

CHAIN = ".chain"
PACKED = ".gz"

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not strftime's %b: that follows the locale."""

_NAME = re.compile(r"ossec-(?P<stem>[a-z]+)-(?P<day>\d\d)(?:-(?P<serial>\d{3,}))?(?P<suffix>\.[a-z]+)")


class Rotated(msgspec.Struct, frozen=True):
    """A file that is written to no more."""

    day: date
    serial: int
    path: Path
    """Without `.gz`: the name that it was given."""

    @property
    def chain(self) -> Path:
        """The seals."""
        return self.path.with_name(self.path.name + CHAIN)

    @property
    def packed(self) -> Path:
        """Its name once it is compressed."""
        return self.path.with_name(self.path.name + PACKED)

    @property
    def there(self) -> Path | None:
        """As it lies there now, compressed or not; None: only its seals are left."""
        return next((path for path in (self.path, self.packed) if path.exists()), None)


def place_for(path: Path, day: date) -> Path:
    """A free name for the file `path`, which holds a day's records, below its folder."""
    folder = path.parent / f"{day.year:04d}" / MONTHS[day.month - 1]
    taken = [old.serial for old in rotated(path) if old.day == day]
    serial = f"-{max(taken) + 1:03d}" if taken else ""  # behind all that are there, so that names are in order
    return folder / f"ossec-{path.stem}-{day.day:02d}{serial}{path.suffix}"


def rotated(path: Path) -> list[Rotated]:
    """What was made of the file `path` on earlier days, oldest first."""
    found: dict[Path, Rotated] = {}
    for entry in path.parent.glob(f"[0-9][0-9][0-9][0-9]/*/ossec-{path.stem}-*"):
        name = entry.name.removesuffix(CHAIN).removesuffix(PACKED)
        match = _NAME.fullmatch(name)
        if match is None or match["stem"] != path.stem or match["suffix"] != path.suffix:
            continue
        try:
            month = MONTHS.index(entry.parent.name) + 1
            day = date(int(entry.parent.parent.name), month, int(match["day"]))
        except ValueError:
            continue
        plain = entry.with_name(name)
        found[plain] = Rotated(day, int(match["serial"] or 0), plain)
    return sorted(found.values(), key=lambda one: (one.day, one.serial))
