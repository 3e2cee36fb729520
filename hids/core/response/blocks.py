"""Blocks: who is acted against now, how many are, how fast they came, and who comes again and again."""

from collections import deque

import msgspec

MINUTE_MS = 60_000
FORGIVEN_MS = 30 * 86_400_000
"""An offender who was quiet for so long begins anew."""
MAX_OFFENDERS = 100_000

Key = tuple[str, str, str]
"""(command, agent, target)."""


class Offence(msgspec.Struct):
    """How often somebody was acted against."""

    times: int
    last_ms: int


class Blocks:
    """What the budget and the repeat rule need to know. The store fills it at the start; nothing here is on disk."""

    def __init__(self) -> None:
        self._until: dict[Key, int] = {}
        """0: no end."""
        self._paused: dict[Key, int] = {}
        """What an agent refused or could not do -> until when it is not asked again."""
        self._begun: deque[int] = deque()
        self._offences: dict[tuple[str, str], Offence] = {}

    def active_until(self, key: Key, now_ms: int) -> int | None:
        """Until when this is in force (0: no end); None when it is not."""
        until = self._until.get(key)
        if until is None or 0 < until <= now_ms:
            return None
        return until

    def targets(self, now_ms: int) -> int:
        """How many different targets are acted against."""
        over = [key for key, until in self._until.items() if 0 < until <= now_ms]
        for key in over:
            del self._until[key]
        return len({(command, target) for command, _, target in self._until})

    def in_last_minute(self, now_ms: int) -> int:
        """How many targets were new in the last minute."""
        while self._begun and self._begun[0] <= now_ms - MINUTE_MS:
            self._begun.popleft()
        return len(self._begun)

    def times(self, command: str, target: str, now_ms: int) -> int:
        """How often this target was acted against before."""
        offence = self._offences.get((command, target))
        return 0 if offence is None or offence.last_ms < now_ms - FORGIVEN_MS else offence.times

    def begin(self, key: Key, until_ms: int) -> None:
        """This is in force from now on, or for longer."""
        self._until[key] = until_ms

    def count(self, command: str, target: str, at_ms: int) -> None:
        """A new target, or one that comes again."""
        self._begun.append(at_ms)
        offence = self._offences.pop((command, target), None) or Offence(0, at_ms)
        self._offences[command, target] = Offence(offence.times + 1, at_ms)
        if len(self._offences) > MAX_OFFENDERS:
            del self._offences[next(iter(self._offences))]

    def end(self, key: Key) -> None:
        """This is over."""
        self._until.pop(key, None)

    def pause(self, key: Key, until_ms: int) -> None:
        """The agent did not do it, and is not asked again before a time."""
        self.end(key)
        self._paused[key] = until_ms
        if len(self._paused) > MAX_OFFENDERS:
            del self._paused[next(iter(self._paused))]

    def is_paused(self, key: Key, now_ms: int) -> bool:
        """Whether the agent is not to be asked now."""
        if self._paused.get(key, 0) > now_ms:
            return True
        self._paused.pop(key, None)
        return False
