"""Event times as alerts have them: in the manager's zone."""

import time
from functools import lru_cache


def timestamp(at_ms: int) -> str:
    """Event time as Wazuh writes it, `2026-11-24T03:21:43.123+0000`, in the manager's zone."""
    seconds, milliseconds = divmod(at_ms, 1000)
    moment, zone = _second(seconds)
    return f"{moment}.{milliseconds:03d}{zone}"


@lru_cache(maxsize=64)
def _second(seconds: int) -> tuple[str, str]:
    """A second's time and zone; alerts come many a second."""
    local = time.localtime(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), time.strftime("%z", local)
