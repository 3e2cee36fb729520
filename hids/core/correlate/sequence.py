"""Order per source: outcomes come from any worker, are applied in sequence, and never twice."""

from hids.core.wire.lines import GENESIS
from hids.errors import LocalProtocolError
from hids.messages.evaluation import Outcome
from hids.messages.lane import Hole, Progress


class Sequencer:
    """Committed-or-about-to-be progress of every source, and what came too early."""

    def __init__(self, progress: dict[str, Progress]) -> None:
        self._progress = dict(progress)
        self._parked: dict[str, dict[tuple[int, int], Outcome | Hole]] = {}
        self.repeated = 0
        """Outcomes refused because their lines are already applied."""

    def progress(self, source: str) -> Progress | None:
        """Where a source stands."""
        return self._progress.get(source)

    @property
    def parked(self) -> int:
        """Outcomes and holes that wait for one before them."""
        return sum(map(len, self._parked.values()))

    def offer(self, outcome: Outcome) -> list[Outcome | Hole]:
        """Take an outcome; return what may be applied now, in order, and count it as applied.

        Raises:
            LocalProtocolError: it overlaps what is applied, so batches were cut anew: a bug.
        """
        source = outcome.source
        now = self._progress.get(source, Progress(epoch=0, seq=0, chain=GENESIS))
        if outcome.epoch < now.epoch or (outcome.epoch == now.epoch and outcome.first_seq <= now.seq):
            if outcome.epoch == now.epoch and outcome.first_seq + outcome.count - 1 > now.seq:
                raise LocalProtocolError(
                    f"{source}: outcome {outcome.first_seq}+{outcome.count} overlaps progress {now.seq}"
                )
            self.repeated += 1
            return []
        parked = self._parked.setdefault(source, {})
        parked[outcome.epoch, outcome.first_seq] = outcome
        return self._release(source)

    def skip(self, hole: Hole) -> list[Outcome | Hole]:
        """Take a hole; return what may be applied now, in order: it, when its turn has come, and what waited for it.

        Nothing when progress is already past it: it was recorded before.
        """
        source = hole.source
        now = self._progress.get(source, Progress(epoch=hole.epoch, seq=0, chain=GENESIS))
        if hole.epoch < now.epoch or (hole.epoch == now.epoch and hole.last <= now.seq):
            return []
        if hole.first > (now.seq + 1 if hole.epoch == now.epoch else 1):
            self._parked.setdefault(source, {})[hole.epoch, hole.first] = hole  # lines before it are still at a worker
            return []
        self._progress[source] = _behind(hole)
        parked = self._parked.get(source, {})
        for inside in [place for place in parked if place <= (hole.epoch, hole.last)]:
            del parked[inside]
        return [hole, *self._release(source)]

    def _release(self, source: str) -> list[Outcome | Hole]:
        parked = self._parked.get(source, {})
        ready: list[Outcome | Hole] = []
        while parked:
            now = self._progress.get(source, Progress(epoch=0, seq=0, chain=GENESIS))
            following = parked.pop((now.epoch, now.seq + 1), None)
            if following is None:
                newer = sorted(epoch for epoch, first in parked if epoch > now.epoch and first == 1)
                if not newer:
                    break
                following = parked.pop((newer[0], 1))
                for stale in [key for key in parked if key[0] < newer[0]]:
                    del parked[stale]
            self._progress[source] = _behind(following)
            ready.append(following)
        if not parked:
            self._parked.pop(source, None)
        return ready


def _behind(item: Outcome | Hole) -> Progress:
    last = item.last if isinstance(item, Hole) else item.first_seq + item.count - 1
    return Progress(epoch=item.epoch, seq=last, chain=item.chain)
