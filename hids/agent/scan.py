"""Syscheck's work on the disk: scans of trees, looks at single paths. One thread; blocks.

    scan, look_at --Observer--> news --matched--> `Sheet` (facts and positions together) --> spool

A directory whose listing has the fingerprint that it had is done. Else its entries are compared with what is known of
them, part by part, in the order of the hashes of their names: a directory of a million files takes no more memory than
one of `SLICE_ENTRIES`. What is unchanged is never written.
"""

import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, pairwise
from typing import NamedTuple

import msgspec
import structlog

from hids.agent.accounts import forget_names
from hids.agent.copies import Copies
from hids.agent.filecache import (
    HIGHEST,
    LOWEST,
    PART_ENTRIES,
    SPLIT_ABOVE,
    FileCache,
    OpenParts,
    Part,
    Summary,
    name_hash,
    summarised,
)
from hids.agent.folders import Folder, Folders
from hids.agent.listing import Found, Survey, names_between, opened, status_at, survey
from hids.agent.mounts import Mounts
from hids.agent.news import Change, News, gone, path_of
from hids.agent.observe import Known, Observer, Seen, has_grown, is_news, is_same, status_of
from hids.agent.paths import shown
from hids.agent.sheet import Sheet
from hids.agent.watches import Watches
from hids.messages.syscheck import FileFact

log = structlog.get_logger()

SLICE_ENTRIES = 131_072
"""Entries of one directory that are held at once: some 30 MiB."""
BATCH = 64
"""Directories whose summaries are asked for together."""
STORED_TOGETHER = 256
ROOT = "root:"

MAX_SAID = 1_024
"""Troubles that are told, each once."""


class _Place(NamedTuple):
    """A directory that is being compared."""

    path: str
    shown: str
    descriptor: int
    folder: Folder
    seen: Seen
    news: News | None


class Scanner:
    """Compares what is with what was."""

    def __init__(
        self,
        folders: Folders,
        observer: Observer,
        cache: FileCache,
        sheet: Sheet,
        watches: Watches,
        mounts: Mounts,
        copies: Copies,
        *,
        max_files: int,
        tells_new: bool,
        meanwhile: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """`meanwhile` is called between directories of a scan, to look at what was notified; it raises to end the scan."""
        self._folders = folders
        self._observer = observer
        self._cache = cache
        self._sheet = sheet
        self._watches = watches
        self._mounts = mounts
        self._copies = copies
        self._max_files = max_files
        self._tells_new = tells_new
        self._meanwhile = meanwhile
        self._say = say
        self.files = 0
        """Paths below all roots, as of the last scan."""
        self._said: set[str] = set()

    # -- what there is to do

    def scan(self, root: str, news: News, *, first_time: bool) -> bool:
        """Go through all below a root; False when it is not there. `settle` has to follow."""
        seen: Seen = "baseline" if first_time else news.seen
        waits = None if first_time else news
        if self._mounts.hides(root):
            self._say_once(f"source unreadable: {shown(root)}: mounted from elsewhere, see skip_nfs")
            return True
        if root != "/":
            self._look(*os.path.split(root), seen, waits)  # the directory itself: its owner and mode
        if not is_directory(root):
            return False
        self._walk(root, seen, waits)
        if first_time:
            self._sheet.add((), {ROOT + shown(root): b"\x01"})
            self._sheet.flush()
        return True

    def begin(self) -> News:
        """Get ready for a scan."""
        forget_names()
        self._mounts.refresh()
        self.files = 0
        return News("scan", tells_new=self._tells_new)

    def look_at(self, entries: Iterable[tuple[str, str]]) -> None:
        """Look at single entries (directory, name), as notifications name them."""
        self._sheet.flush()
        news = News("live", tells_new=self._tells_new)
        for directory, name in entries:
            self._look(directory, name, "live", news)
        self.settle(news)

    def settle(self, news: News) -> None:
        """Store what was found, and what moved as moved."""
        self._sheet.flush()
        changes = news.changes()
        while together := list(islice(changes, STORED_TOGETHER)):
            self._store(change for group in together for change in group)
        for directory in news.gone_directories():
            self._watches.remove_below(directory)
        self._sheet.flush()

    def look_anew(self, top: str, *, baseline: bool) -> None:
        """Look at a path, and at all below it, as if nothing were known of it."""
        self._sheet.flush()
        above, name = os.path.split(top)
        if name:
            part, _ = self._cache.part_of(shown(above), shown(name))
            if part.entries.pop(shown(name), None) is not None:
                self._sheet.add((), self._cache.written(shown(above), part))
        for directory, part in self._cache.below(shown(top)):
            written = self._cache.written(directory, Part(part.stamp, {}, part.low))
            self._sheet.add((), summarised(directory, None) | written)
        self._sheet.flush()
        files, news = self.files, self.begin()  # a scan counts, a look at a part does not
        seen: Seen = "baseline" if baseline else news.seen
        if name:
            self._look(above, name, seen, None if baseline else news)
        if is_directory(top):
            self._walk(top, seen, None if baseline else news)
        self.settle(news)
        self.files = files

    def forget(self, root: str, *, inside: bool) -> None:
        """Forget a folder (as shown) that is configured no more; `inside`: it lies in one that is.

        What is known of a folder that is checked no more is forgotten without an alert, here and by the manager.
        """
        if not inside:
            self._leave_below(root, "baseline", None)
            self._sheet.flush()
            above, name = os.path.split(root)
            part, _ = self._cache.part_of(above, name)
            known = part.entries.pop(name, None)
            if known is not None:
                self._sheet.add([gone(known.fact, "baseline")], self._cache.written(above, part))
        self._sheet.add((), {ROOT + root: None})
        self._sheet.flush()

    # -- trees

    def _walk(self, top: str, seen: Seen, news: News | None) -> None:
        waiting = [top]
        while waiting:
            batch = [waiting.pop() for _ in range(min(BATCH, len(waiting)))]
            summaries = self._cache.summaries(map(shown, batch))
            found: list[str] = []
            for directory in batch:
                if seen != "live":  # a long scan does not hold up what happens meanwhile
                    self._meanwhile()
                found += self._directory(directory, summaries.get(shown(directory)), seen, news)
            waiting += reversed(found)

    def _directory(self, directory: str, summary: Summary | None, seen: Seen, news: News | None) -> list[str]:
        """Compare one directory; returns the directories below it that are to be compared as well."""
        folder = self._folders.of(directory)
        if folder.depth(directory) > folder.recursion:
            self._say_once(f"syscheck limit: recursion: more than {folder.recursion} levels below {shown(folder.path)}")
            return self._folders.below(directory)
        if folder.realtime:
            self._watches.add(directory)  # before looking: what changes after the look is notified
        with opened(directory, partial(self._unreadable, directory)) as descriptor:
            if descriptor is None:
                return []
            try:
                listing = survey(descriptor, folder.stamp, self._mounts.names_in(directory))
            except OSError as error:
                self._unreadable(directory, error.strerror or str(error))
                return []
            self.files += listing.entries
            if summary is None or summary.fingerprint != listing.fingerprint:
                place = _Place(directory, shown(directory), descriptor, folder, seen, news)
                waited = len(news) if news is not None else 0
                self._compare(place, listing)
                if (
                    news is None or len(news) == waited
                ):  # else it must be compared again if this scan ends before its end
                    self._sheet.add((), summarised(place.shown, Summary(listing.entries, listing.fingerprint)))
        return self._below(directory, folder, listing.subdirectories)

    def _below(self, directory: str, folder: Folder, names: list[str]) -> list[str]:
        names.sort()
        paths = [os.path.join(directory, name) for name in names]
        return [path for path in paths if not self._folders.leaves_out(folder, path, is_dir=True)]

    # -- comparing

    def _compare(self, place: _Place, listing: Survey) -> None:
        if listing.found is not None:
            self._compare_slice(place, listing.found, LOWEST, HIGHEST)
            return
        slices = 1 << ((listing.entries - 1) // SLICE_ENTRIES).bit_length()
        bounds = [f"{number * (1 << 32) // slices:08x}" for number in range(slices)] + [HIGHEST]
        away = self._mounts.names_in(place.path)
        for low, high in pairwise(bounds):
            self._sheet.flush()
            if high != HIGHEST:  # a part that lies across would miss what is in the next slice
                self._sheet.add((), self._cache.split(place.shown, high))
                self._sheet.flush()
            self._compare_slice(place, list(names_between(place.descriptor, low, high, away)), low, high)

    def _compare_slice(self, place: _Place, found: list[Found], low: str, high: str) -> None:
        entries = sorted(
            ((name_hash(name_shown), name_shown, name, info) for name, info in found for name_shown in (shown(name),)),
            key=_by_hash,
        )
        hashes = [entry[0] for entry in entries]
        start = 0
        for part, end_hash in self._bounded_parts(place, low, high):
            end = bisect_left(hashes, end_hash, start)
            if part.entries or end - start <= SPLIT_ABOVE:
                self._compare_part(place, part, entries[start:end])
            else:
                self._compare_new(place, part, entries[start:end])
            start = end

    def _bounded_parts(self, place: _Place, low: str, high: str) -> Iterator[tuple[Part, str]]:
        """All parts of a slice, with the hash before which each ends; together they cover it."""
        before = Part(place.folder.stamp, {}, low)
        for part in self._cache.parts(place.shown, low, high):
            if part.low != before.low:
                yield before, part.low
            before = part
        yield before, high

    def _compare_new(self, place: _Place, part: Part, entries: "list[_Entry]") -> None:
        """Entries of which none is known become several parts."""
        start = 0
        while start < len(entries):
            end = min(start + PART_ENTRIES, len(entries))
            while end < len(entries) and entries[end][0] == entries[end - 1][0]:
                end += 1
            low = entries[start][0] if start else part.low
            self._compare_part(place, Part(place.folder.stamp, {}, low), entries[start:end])
            start = end

    def _compare_part(self, place: _Place, part: Part, entries: "list[_Entry]") -> None:
        folder, seen, news = place.folder, place.seen, place.news
        anew = part.stamp != folder.stamp
        left, kept = part.entries, dict[str, Known]()
        facts: list[FileFact] = []
        changed = anew and bool(left)
        for _, name, real_name, listed in entries:
            before = left.get(name)
            info = listed or status_at(place.descriptor, real_name)
            if info is None:
                continue  # it went meanwhile
            if before is not None and not anew and is_same(before, info, folder):
                kept[name] = left.pop(name)
                continue
            path = os.path.join(place.path, real_name)
            is_dir = stat.S_ISDIR(info.st_mode)
            if (is_dir or not folder.takes_all) and self._folders.leaves_out(folder, path, is_dir=is_dir):
                continue
            if before is None and self._is_over_limit():
                continue
            now = self._observed(path, info, seen, folder, before, (place.descriptor, real_name))
            if now is None:
                continue
            if before is None:
                if news is not None and news.has_room():
                    news.came(place.shown, name, now)
                    continue
                facts.append(now.fact if self._tells_new else msgspec.structs.replace(now.fact, seen="baseline"))
            else:
                del left[name]
                if is_news(before.fact, now.fact):
                    facts.append(now.fact)
            kept[name] = _remembered(now)
            changed = True
        changed |= self._settle_left(place, left, kept, facts)
        if changed:
            self._sheet.add(facts, self._cache.written(place.shown, Part(folder.stamp, kept, part.low)))

    def _settle_left(
        self, place: _Place, left: dict[str, Known], kept: dict[str, Known], facts: list[FileFact]
    ) -> bool:
        """Entries that are there no more, or are left out by now; whether anything was done about them at once."""
        done = False
        for name, before in left.items():
            path = path_of(place.shown, name)
            fact = before.fact
            if self._folders.leaves_out(place.folder, path, is_dir=fact.kind == "dir"):
                facts.append(gone(fact, "baseline"))
                done = True
                if fact.kind == "dir":
                    self._leave_below(path, "baseline", None)
                continue
            if place.news is not None and place.news.has_room():
                place.news.left(place.shown, name, before)
                kept[name] = before
            else:
                facts.append(gone(fact, place.seen))
                done = True
            if fact.kind == "dir":
                self._leave_below(path, place.seen, place.news)
        return done

    def _leave_below(self, top: str, seen: Seen, news: News | None) -> None:
        """All that was known below a directory (as shown) that is no more."""
        self._sheet.flush()  # what is written down is not yet known to the cache
        for directory, part in self._cache.below(top):
            positions = summarised(directory, None)
            if news is not None and news.has_room(len(part.entries)):
                for name, known in part.entries.items():
                    news.left(directory, name, known)
                self._sheet.add((), positions)
                continue
            facts = [gone(known.fact, seen) for known in part.entries.values()]
            self._sheet.add(facts, positions | self._cache.written(directory, Part(part.stamp, {}, part.low)))
        if news is None or not news.has_room():
            self._watches.remove_below(top)

    # -- single entries

    def _look(self, directory: str, name: str, seen: Seen, news: News | None) -> None:
        """Compare one entry."""
        path = os.path.join(directory, name)
        folder = self._folders.of(directory if self._folders.has(directory) else path)
        where, name_shown = shown(directory), shown(name)
        self._sheet.flush()
        part, _ = self._cache.part_of(where, name_shown)
        before = part.entries.get(name_shown)
        info = status_of(path)
        is_dir = info is not None and stat.S_ISDIR(info.st_mode)
        now: Known | None = None
        if info is not None:
            if self._folders.leaves_out(folder, path, is_dir=is_dir) or name in self._mounts.names_in(directory):
                return
            now = self._looked(path, info, seen, folder, before)
        self._note(Change(where, name_shown, now, None), before, seen, news)
        if now is not None and is_dir and seen == "live":
            is_other = before is None or before.fact.kind != "dir" or before.fact.inode != now.fact.inode
            if is_other or (folder.realtime and path not in self._watches):
                self._walk(path, seen, news)

    def _looked(
        self, path: str, info: os.stat_result, seen: Seen, folder: Folder, before: Known | None
    ) -> Known | None:
        if before is not None:
            only_grew = seen == "live" and folder.is_growing(path) and has_grown(before.fact, info)
            if is_same(before, info, folder) or only_grew:  # a scan sees what it grew by
                return before
        elif self._is_over_limit():
            return None
        return self._observed(path, info, seen, folder, before, None)

    def _observed(
        self,
        path: str,
        info: os.stat_result,
        seen: Seen,
        folder: Folder,
        before: Known | None,
        at: tuple[int, str] | None,
    ) -> Known | None:
        """Look at a path, and inside it where that is told."""
        fact = before.fact if before is not None else None
        now = self._observer.look(path, info, seen, folder, fact, at)
        if now is not None and now.fact.kind == "file" and folder.may_show(path):
            diff = self._copies.difference(path, fact, now.fact)
            if diff:
                return Known(msgspec.structs.replace(now.fact, diff=diff), now.ctime_ns)
        return now

    def _note(self, change: Change, before: Known | None, seen: Seen, news: News | None) -> None:
        """Have one entry stored: at once, or with the news."""
        directory, name, now, _ = change
        if now is before:
            return
        if news is None:
            self._store([Change(directory, name, now, now.fact if now is not None else None)])
        elif before is None and now is not None:
            news.came(directory, name, now)
        elif before is not None and now is None:
            news.left(directory, name, before)
        elif before is not None and now is not None:
            news.changed(Change(directory, name, now, now.fact if is_news(before.fact, now.fact) else None))
        if before is not None and before.fact.kind == "dir" and (now is None or now.fact.kind != "dir"):
            self._leave_below(path_of(directory, name), seen, news)

    # -- storing

    def _store(self, changes: Iterable[Change]) -> None:
        """Write single entries into their parts, with the facts. What has been told meanwhile is not told again."""
        self._sheet.flush()
        facts: list[FileFact] = []
        parts = OpenParts(self._cache)
        for change in changes:
            entries = parts.entries(change.directory, change.name)
            before = entries.get(change.name)
            if change.known is None:
                if before is None:
                    continue
                del entries[change.name]
                self._copies.drop(path_of(change.directory, change.name))
                fact = change.fact
            else:
                entries[change.name] = _remembered(change.known)
                fact = change.fact
                if fact is not None and fact.moved_from:
                    where, name = os.path.split(fact.moved_from)
                    if name not in parts.entries(where, name):  # that it left has been told
                        fact = change.known.fact
                if fact is not None and before is not None and not fact.moved_from and not is_news(before.fact, fact):
                    fact = None
            if fact is not None:
                facts.append(fact)
        self._sheet.add(facts, parts.written())
        self._sheet.flush()

    # -- limits

    def _is_over_limit(self) -> bool:
        if self.files <= self._max_files:
            return False
        self._say_once(f"syscheck limit: files: more than {self._max_files}, new ones are not checked")
        return True

    def _unreadable(self, directory: str, why: str) -> None:
        """Nothing is said of its entries then."""
        self._say_once(f"source unreadable: {shown(directory)}: {why}")

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < MAX_SAID:
            self._said.add(text)
            log.warning("syscheck: some of the files are not checked", reason=text)
            self._say(text)


_Entry = tuple[str, str, str, os.stat_result | None]
"""(hash of the shown name, shown name, name, status if it was taken)"""


def is_directory(path: str) -> bool:
    """Tell whether a path is a directory itself, not a link to one."""
    info = status_of(path)
    return info is not None and stat.S_ISDIR(info.st_mode)


def _by_hash(entry: _Entry) -> tuple[str, str]:
    return entry[0], entry[1]


def _remembered(now: Known) -> Known:
    """What is kept of a look: not what was only news."""
    fact = now.fact
    if not (fact.diff or fact.moved_from or fact.grown):
        return now
    return Known(msgspec.structs.replace(fact, diff="", moved_from="", grown=False), now.ctime_ns)
