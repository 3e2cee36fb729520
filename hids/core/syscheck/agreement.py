"""Where what an agent remembers of directories is not what the manager knows of them."""

from collections import defaultdict
from collections.abc import Iterable

from hids.core.syscheck.digest import directory_digest, entry_digest
from hids.core.syscheck.paths import range_of, split
from hids.messages.baseline import Baseline
from hids.messages.syscheck import DirectoryDigests, DirectoryListing


def differing(said: DirectoryDigests, known: Iterable[tuple[str, Baseline]]) -> list[str]:
    """Folders that differ, in order.

    Args:
        said: by the agent.
        known: (path, what the manager knows of it) for all entries of the folders that `said` speaks of.
    """
    entries: defaultdict[str, list[bytes]] = defaultdict(list)
    for path, each in known:
        entries[split(path)[0]].append(each.told or entry_digest(each.fact))
    theirs = dict(said.digests)
    ours = {folder: directory_digest(digests) for folder, digests in entries.items()}
    return sorted(folder for folder in theirs.keys() | ours.keys() if theirs.get(folder) != ours.get(folder))


def speaks_of(said: DirectoryDigests, folder: str) -> bool:
    """Whether an answer speaks of a folder: it has bounds of its own, and those of what was asked."""
    first, end = range_of(said.top)
    return said.after < folder and (not said.through or folder <= said.through) and first <= folder < end


def is_in(listing: DirectoryListing, path: str) -> bool:
    """Whether a listing is about a path: it would name it if it were there."""
    folder, name = split(path)
    return folder == listing.folder and listing.after < name and (not listing.through or name <= listing.through)
