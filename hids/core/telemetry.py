"""Telemetry: `[telemetry]` of manager.toml, where the manager's figures are pushed by OpenTelemetry's protocol."""

import re
from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=5, le=86_400)]


class Telemetry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """OTLP over HTTP, protobuf. The figures are those of Prometheus (hids.core.exposition)."""

    endpoint: str = ""
    """URL of the collector's metrics, mostly ending in /v1/metrics; empty: nothing is sent."""
    every_s: Seconds = 60.0
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    headers_file: str = ""
    """A private file with a header each line, "Name: value": keys of the collector, say."""
    ca_file: str = ""

    def problem(self) -> str | None:
        """What is wrong beyond the types; None: nothing."""
        if self.endpoint and not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", self.endpoint):
            return f'endpoint: expected "https://host:4318/v1/metrics" without a password, got {self.endpoint!r}'
        if self.headers_file and re.match(r"http://(?!(127\.0\.0\.1|\[::1\]|localhost)[:/])", f"{self.endpoint}/"):
            return "endpoint: expected https://, since a secret goes along"
        return None


def headers_of(text: str) -> dict[str, str]:
    """Read the file of headers; empty lines do not matter.

    Raises:
        ValueError: a line is no header, or could begin another one.
    """
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = re.fullmatch(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x20-\x7e]*)", line)
        if found is None:
            raise ValueError(f'line {number}: expected "Name: value" in ASCII')
        headers[found[1]] = found[2].strip()
    return headers
