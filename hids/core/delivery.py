"""Delivery: what a webhook and the one who sends to it speak about."""

from typing import Literal

import msgspec

from hids.errors import HidsError


class Receiver(msgspec.Struct, frozen=True):
    """Where alerts go, as manager.toml says."""

    name: str
    url: str
    secret_file: str = ""
    level: int = 0
    """Lowest rule level that is sent."""
    send: Literal["alerts", "incidents"] = "alerts"
    """"incidents": only what is new in one: its first alert, a higher level, another agent."""
    batch: int = 100
    """Alerts in one request, at most."""
    timeout_s: float = 10.0
    """For a whole request."""
    ca_file: str = ""

    @property
    def output(self) -> str:
        """The name of its cursor among all outputs'."""
        return f"webhook:{self.name}"


class Delivery(msgspec.Struct, frozen=True):
    """Alerts that go in one request."""

    first: int
    last: int
    """Numbers that it covers; alerts that are not wanted are among them, but not sent."""
    alerts: tuple[bytes, ...]
    """JSON objects."""

    @property
    def id(self) -> str:
        """The same in every try."""
        return f"{self.first}-{self.last}"


class Refused(HidsError):  # noqa: N818 - an answer
    """The receiver did not take it, in one line; `after_s` is how long it asks us to wait."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Cursor(msgspec.Struct, frozen=True):
    """Where a receiver stands."""

    taken: int = 0
    """The receiver has the alerts up to this number."""
    trying: int = 0
    """The try under way ends with this one; not above `taken`: none is."""
