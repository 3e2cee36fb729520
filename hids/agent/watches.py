"""Which directories syscheck has the kernel watch: numbers of watches <-> paths."""

from collections.abc import Callable

import structlog

from hids.agent.paths import shown
from hids.agent.watch import TREE, Watcher, WatchError

log = structlog.get_logger()


class Watches:
    """The watches of one life. Added to by the thread that scans, read by the loop."""

    def __init__(
        self,
        watcher: Watcher | None,
        say: Callable[[str], None],
        cover: Callable[[str], None] = lambda _directory: None,
    ) -> None:
        """`watcher` is None where changes are found by scans only; `cover` is told of each directory."""
        self._watcher = watcher
        self._cover = cover
        self._say = say
        self._directories: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self.is_full = False
        """The kernel gave no more watches."""

    @property
    def is_on(self) -> bool:
        """Whether all that is to be watched is."""
        return self._watcher is not None and not self.is_full

    def __contains__(self, directory: str) -> bool:
        """Whether a directory is watched."""
        return directory in self._numbers

    def add(self, directory: str) -> None:
        """Watch a directory; nothing happens when it is not there."""
        self._cover(directory)
        if self._watcher is None or self.is_full:
            return
        try:
            number = self._watcher.add(directory, TREE)
        except WatchError as error:
            self.is_full = True  # said once; scans go on
            log.warning("syscheck: some directories are checked by scans only", reason=str(error))
            self._say(f"syscheck limit: watches: {error}")
            return
        if number is not None:
            self.drop(number)  # a moved directory keeps its number
            self._directories[number] = directory
            self._numbers[directory] = number

    def directory(self, number: int) -> str | None:
        """The directory of a watch."""
        return self._directories.get(number)

    def drop(self, number: int) -> None:
        """Forget a watch that the kernel has ended."""
        directory = self._directories.pop(number, None)
        if directory is not None and self._numbers.get(directory) == number:
            del self._numbers[directory]

    def remove_below(self, top: str) -> None:
        """End the watches of a directory, given as shown, and of all below it."""
        if self._watcher is None:
            return
        below = top.rstrip("/") + "/"
        for directory, number in tuple(self._numbers.items()):
            if (shown(directory) + "/").startswith(below):
                self.drop(number)
                self._watcher.remove(number)
