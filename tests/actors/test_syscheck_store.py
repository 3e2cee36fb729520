"""The store over a real ledger file: repeats, verdicts, maintenances, agreement, orders; and all of it after a restart."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from waiting import SetClock

from hids.actors.stage import Mailbox
from hids.actors.syscheck_store import Baselined, Look, Memory, SyscheckStore
from hids.adapters.baselines import Baselines
from hids.adapters.ledger import Ledger
from hids.core.syscheck.change import IGNORED
from hids.core.syscheck.digest import directory_digest, entry_digest
from hids.messages.baseline import BaselineOrder, Maintain, Maintenance
from hids.messages.lane import Applied
from hids.messages.syscheck import DirectoryDigests, DirectoryListing, FileFact, Packaged
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import Group

AGENT = Agent(AgentId("007"), "web1", "")
MANAGER = Agent(AgentId("000"), "boss", "")
SAME = Packaged("x", "1", "same", recent=True)
WORK = Maintenance("m1", (AgentId("007"),), "web1 (007)", "alice", "disks", 1_000, 61_000)


def fact(path: str = "/etc/x", size: int = 0, **more: Any) -> FileFact:
    return FileFact(path=path, seen=more.pop("seen", "live"), size=size, **more)


class Bench:
    """A store, a ledger file behind it, and what was handed on."""

    def __init__(self, path: Path, *, auto_ignore: bool = False) -> None:
        self.path = path
        self.auto_ignore = auto_ignore
        self.clock = SetClock()
        self.clock.ms = 5_000
        self.out: list[Applied] = []
        self.open()

    def open(self) -> None:
        self.ledger = Ledger(self.path)
        memory = Memory(
            self.ledger.baseline,
            self.ledger.changes,
            self.ledger.below,
            self.ledger.entries,
            self.ledger.maintenance(since_ms=0),
        )
        self.store = SyscheckStore(
            Mailbox("store"), memory, MANAGER, self.clock, self.out.append, auto_ignore=self.auto_ignore
        )
        self.taken = 0

    def restart(self) -> None:
        """As after kill -9: what was not committed is forgotten."""
        self.close()
        self.open()

    def close(self) -> None:
        self.store.closing()
        self.ledger.close()

    def see(self, *news: Any, at_ms: int = 5_000) -> list[str]:
        """First lines of what is told of these."""
        packed = tuple((number, at_ms, msgspec.msgpack.encode(each)) for number, each in enumerate(news))
        self.store.on_receive(Applied(source=SourceId("agent/007"), agent=AGENT, facts=packed))
        return self.told()

    def told(self) -> list[str]:
        new, self.taken = self.out[self.taken :], len(self.out)
        return [line.text.decode().partition("\n")[0] for applied in new for _, line in applied.lines]

    def commit(self, since: int = 0) -> None:
        """Everything that was handed on, as one group each, as the ledger does with orders."""
        for applied in self.out[since:]:
            group = Group(
                at_ms=self.clock.ms,
                baselines=applied.baselines,
                changes=list(applied.changes),
                checks=list(applied.checks),
                maintenance=list(applied.maintenance),
                order=applied.order,
            )
            self.ledger.commit(group, 1)
            self.store.on_receive(Baselined(group.baselines))
        self.out.clear()
        self.taken = 0

    def order(self, what: str, path: str = "", through: int = 99) -> None:
        order = {"id": f"{what}{path}", "what": what, "agent": AGENT, "path": path, "through": through, "by": "root"}
        self.store.on_receive(msgspec.convert(order, BaselineOrder, from_attributes=True))

    def counts(self) -> list[int]:
        return [int(applied.changes[0].changes) for applied in self.out if applied.changes]


def on_a_loop(tmp_path: Path, scene: Callable[[Bench], None], **options: Any) -> None:
    async def main() -> None:
        bench = Bench(tmp_path / "ledger.db", **options)
        try:
            scene(bench)
        finally:
            bench.close()

    asyncio.run(main())


def members(bench: Bench) -> list[dict[str, Any]]:
    return [
        msgspec.json.decode(b"{" + line.facts + b"}")["syscheck"]
        for applied in bench.out
        for kind, line in applied.lines
        if kind == "syscheck"
    ]


def test_changes_are_counted_through_deletion_and_restart(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(fact())
        assert [row.get("changes", 0) for row in members(bench)] == [0]
        for size in (1, 2):
            bench.see(fact(size=size))
        bench.commit()
        bench.restart()
        bench.see(fact(gone=True))
        bench.see(fact(size=5))
        assert [row["changes"] for row in members(bench)] == [3, 4]
        bench.commit()
        bench.restart()
        bench.see(fact(size=6))
        assert [row["changes"] for row in members(bench)] == [5]

    on_a_loop(tmp_path, scene)


def test_with_auto_ignore_the_fourth_change_is_only_recorded(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(fact())
        said = [bench.see(fact(size=size)) for size in range(1, 6)]
        assert [len(each) for each in said] == [1, 1, 1, 0, 0]
        assert bench.see(fact(gone=True)) == []
        bench.commit()
        assert len(Baselines(bench.path).history("/etc/x", limit=99)) == 7
        bench.order("zero", "/etc")
        bench.commit()
        assert bench.see(fact(size=9)) == ["File '/etc/x' added"]

    on_a_loop(tmp_path, scene, auto_ignore=True)


def test_what_is_ignored_is_recorded_until_it_is_counted_anew(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(fact(), fact("/etc/y"))
        bench.order("ignore", "/etc/x")  # not yet committed: it holds for what waits, too
        bench.told()
        assert bench.see(fact(size=1)) == []
        bench.commit()
        bench.restart()
        assert bench.see(fact(size=2), fact("/etc/y", 2)) == ["File '/etc/y' modified: size"]
        wrong = msgspec.structs.replace(fact(size=3), package=Packaged("x", "1", "other", recent=True))
        assert bench.see(wrong) == ["Not what the package has: File '/etc/x' modified: size"]
        bench.commit()
        known = bench.ledger.baseline("007", "/etc/x")
        assert known is not None
        assert known.changes > IGNORED
        bench.order("zero", "/etc/x")
        bench.commit()
        assert bench.see(fact(size=4)) == ["File '/etc/x' modified: size"]

    on_a_loop(tmp_path, scene)


def test_what_a_package_answers_for_counts_not(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(fact())
        said = bench.see(fact(size=1, package=SAME), fact(size=2, package=SAME))
        assert said == ["Changed by a package: File '/etc/x' modified: size"] * 2
        bench.see(fact(size=3))
        bench.commit()
        history = Baselines(bench.path).history("/etc/x", limit=9)
        assert [entry.changes for entry in history] == [0, 0, 0, 1]
        assert [entry.told.get("verdict", "") for entry in history] == ["", "package", "package", ""]
        assert [entry.number for entry in Baselines(bench.path).changes("007", limit=9)] == [4, 1]

    on_a_loop(tmp_path, scene)


def test_a_maintenance_begins_once_ends_by_itself_and_outlives_the_lane(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.store.on_receive(Maintain(WORK))
        assert bench.told() == ["maintenance started: 1 min on web1 (007): alice: disks"]
        bench.store.on_receive(Maintain(WORK))
        assert bench.told() == []
        bench.commit()
        bench.restart()
        owned = Packaged("x", "1", "conffile")
        bench.see(fact())
        bench.told()
        assert bench.see(fact(size=1, package=owned)) == ["Changed in maintenance: File '/etc/x' modified: size"]
        assert bench.see(fact("/srv/new")) == ["File '/srv/new' added"]
        assert members(bench)[-1]["maintenance"] == {"id": "m1", "owner": "alice", "reason": "disks"}
        other = msgspec.structs.replace(AGENT, id=AgentId("008"))
        packed = ((0, 5_000, msgspec.msgpack.encode(fact("/srv/new"))),)
        bench.store.on_receive(Applied(source=SourceId("agent/008"), agent=other, facts=packed))
        assert "maintenance" not in members(bench)[-1]
        bench.told()
        bench.commit()
        bench.clock.ms = 61_000
        bench.restart()
        bench.store.on_receive(Look())
        bench.store.on_receive(Look())
        assert bench.told() == ["maintenance ended: on web1 (007): alice: disks"]
        late = fact(size=2, package=owned)
        assert bench.see(late, at_ms=60_999) == ["Changed in maintenance: File '/etc/x' modified: size"]
        assert bench.see(fact(size=3, package=owned), at_ms=61_000) == ["File '/etc/x' modified: size"]
        bench.commit()
        bench.restart()
        bench.store.on_receive(Look())
        assert bench.told() == []

    on_a_loop(tmp_path, scene)


def test_a_person_ends_a_maintenance_once(tmp_path: Path):
    def scene(bench: Bench) -> None:
        ended = msgspec.structs.replace(WORK, ended_ms=6_000, ended_by="bob")
        bench.store.on_receive(Maintain(WORK))
        bench.store.on_receive(Maintain(ended))
        bench.store.on_receive(Maintain(ended))
        assert bench.told() == [
            "maintenance started: 1 min on web1 (007): alice: disks",
            "maintenance ended: on web1 (007): alice: disks",
        ]
        bench.commit()
        assert Baselines(bench.path).maintenances() == [ended]

    on_a_loop(tmp_path, scene)


def digests(*facts: FileFact, through: str = "") -> DirectoryDigests:
    folders = {
        folder: directory_digest(map(entry_digest, group))
        for folder, group in itertools.groupby(facts, lambda each: each.path[: each.path.rindex("/") + 1])
    }
    return DirectoryDigests("check", "", "", through, tuple(folders.items()))


def test_agreement_is_of_what_was_told_by_then(tmp_path: Path):
    def scene(bench: Bench) -> None:
        first, second, third = fact("/a/x", 1, sha256="h"), fact("/a/y", 1), fact("/b/z", 1)
        bench.see(first, third)
        bench.commit()
        unread = msgspec.structs.replace(first, size=2, sha256="")  # its hash is kept, but was not told
        bench.see(unread, second)
        assert bench.see(digests(unread, second, third)) == []
        tampered = msgspec.structs.replace(unread, size=3)
        said = bench.see(digests(tampered, second, third, fact("/c/new")), fact("/b/z", 5))
        assert said[0] == "baseline differs: /a/ and 1 more: what the agent remembers is not what it told"
        bench.commit()
        outcome = Baselines(bench.path).check("check")
        assert outcome is not None
        assert (outcome.directories, outcome.differing) == (5, ("/a/", "/c/"))

    on_a_loop(tmp_path, scene)


def test_a_check_in_parts_is_done_with_the_last(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(fact("/a/x"), fact("/b/x"))
        bench.see(DirectoryDigests("check", "", "", "/a/", digests(fact("/a/x")).digests))
        bench.commit()
        assert Baselines(bench.path).check("check") is None
        bench.see(DirectoryDigests("check", "", "/a/", "", ()))
        bench.commit()
        outcome = Baselines(bench.path).check("check")
        assert outcome is not None
        assert (outcome.directories, outcome.differing) == (1, ("/b/",))

    on_a_loop(tmp_path, scene)


def test_what_a_listing_lacks_is_gone(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(*(fact(f"/a/{name}") for name in "bcdef"), fact("/a/c/below"))
        bench.commit()
        bench.see(fact("/a/g"))
        said = bench.see(DirectoryListing("/a/", "b", "e", ("d",)), DirectoryListing("/a/", "e", "", ("f",)))
        assert said == ["File '/a/c' deleted", "File '/a/e' deleted", "File '/a/g' deleted"]
        bench.commit()
        assert bench.ledger.baseline("007", "/a/c") is None
        assert bench.ledger.baseline("007", "/a/c/below") is not None

    on_a_loop(tmp_path, scene)


def test_orders_end_where_they_should(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(fact("/etc/x"), fact("/etcetera"), fact("/etc"))
        bench.see(fact("/etc/x", 1))
        bench.order("accept", "/etc", through=4)
        assert bench.told() == ["baseline accepted: /etc: by root"]
        bench.commit()
        reader = Baselines(bench.path)
        assert [entry.path for entry in reader.changes("007", limit=9)] == ["/etcetera"]
        assert {entry.accepted_by for entry in reader.history("/etc/x", limit=9)} == {"root"}
        assert reader.is_carried_out("accept/etc")
        bench.see(fact("/etc/z"))
        bench.order("clear", "/etc")
        bench.commit()
        assert reader.at("/etc/x") == reader.at("/etc/z") == reader.at("/etc") == {}
        assert set(reader.at("/etcetera")) == {"007"}
        assert bench.see(fact("/etc/x", 7, seen="baseline")) == []

    on_a_loop(tmp_path, scene)


def test_a_move_takes_its_count_along(tmp_path: Path):
    def scene(bench: Bench) -> None:
        bench.see(fact("/a/x", 1))
        bench.see(fact("/a/x", 2))
        assert bench.see(fact("/a/y", 2, moved_from="/a/x")) == ["File '/a/y' moved"]
        bench.commit()
        assert bench.ledger.baseline("007", "/a/x") is None
        known = bench.ledger.baseline("007", "/a/y")
        assert known is not None
        assert known.changes == 2

    on_a_loop(tmp_path, scene)


def test_what_is_none_of_it_is_counted(tmp_path: Path):
    def scene(bench: Bench) -> None:
        packed = ((0, 1, b"\xc1"), (1, 1, msgspec.msgpack.encode(["digests", 1])))
        bench.store.on_receive(
            Applied(source=SourceId("agent/007"), agent=AGENT, facts=packed, counts={"evaluated": 2})
        )
        assert bench.out[0].counts == {"facts": 2, "dropped:malformed fact": 2, "evaluated": 0}

    on_a_loop(tmp_path, scene)
