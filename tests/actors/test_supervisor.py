"""Who is restarted, when it gives up, and in which order children start and stop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs
from waiting import SetClock, settle, until

from hids.actors.stage import Control, Exited, LoopActor, Mailbox
from hids.actors.supervisor import ChildSpec, Intensity, Node, Restart, StartChild, StopChild, Supervisor
from hids.errors import ConfigError

AT_ONCE = Intensity(first_backoff_s=0.0, next_backoff_s=0.0, max_backoff_s=0.0)


class Dud(Exception):  # noqa: N818 - what the tests' children die of
    """The failure of a test."""


class Leave(Control):
    """Stop by yourself, in order."""


class Child(LoopActor):
    """Writes its life into a diary."""

    def __init__(self, mailbox: Mailbox, diary: list[str], *, stubborn: bool = False) -> None:
        super().__init__(mailbox)
        self._diary = diary
        self._stubborn = stubborn
        diary.append(f"start {mailbox.name}")

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Leave):
            self.stop()
        elif message == "dud":
            raise Dud("broken")
        else:
            self._diary.append(f"{self.mailbox.name} got {message}")

    def on_shutdown(self) -> None:
        if not self._stubborn:
            self.stop()

    def closing(self) -> None:
        self._diary.append(f"end {self.mailbox.name}")


class Tree:
    """A supervisor of children by name."""

    def __init__(self, intensity: Intensity = AT_ONCE) -> None:
        self.diary: list[str] = []
        self.exits: list[Exited] = []
        self.clock = SetClock()
        self.intensity = intensity
        self.node = Node(Mailbox("top"), "supervisor")
        self.node.mailbox.on_exit = self.exits.append
        self.nodes: dict[str, Node] = {}

    def spec(
        self,
        name: str,
        restart: Restart = "permanent",
        start: Callable[[Mailbox], object] | None = None,
        shutdown_s: float = 2.0,
        *,
        significant: bool = False,
        stubborn: bool = False,
    ) -> ChildSpec:
        node = self.nodes[name] = Node(Mailbox(name), "child")
        return ChildSpec(
            node=node,
            start=start or (lambda mailbox: Child.start(mailbox, self.diary, stubborn=stubborn)),
            restart=restart,
            significant=significant,
            shutdown_s=shutdown_s,
        )

    def start(self, *specs: ChildSpec) -> None:
        Supervisor.start(self.node.mailbox, self.node, specs, self.clock, self.intensity)

    def tell(self, name: str, message: Any) -> None:
        self.nodes[name].mailbox.tell(message)

    def states(self) -> dict[str, str]:
        return {node.name: node.state for node in self.node.children}

    async def fail(self, name: str) -> None:
        """Have a child fail, and wait until that is noticed."""
        node = self.nodes[name]
        before = node.restarts
        self.tell(name, "dud")
        await until(lambda: node.restarts > before, f"{name} failed")

    async def end(self) -> list[str]:
        """Stop all; what the diary says of it."""
        self.diary.clear()
        self.node.mailbox.shut_down()
        await until(lambda: self.exits, "the supervisor has ended")
        return self.diary


def run(test: Callable[[Tree], Any], intensity: Intensity = AT_ONCE) -> None:
    async def main() -> None:
        await test(Tree(intensity))

    asyncio.run(main())


def starts(diary: Sequence[str]) -> list[str]:
    return [line.removeprefix("start ") for line in diary if line.startswith("start ")]


def test_children_start_first_to_last_and_stop_last_to_first():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("output"), tree.spec("middle"), tree.spec("input"))
        assert starts(tree.diary) == ["output", "middle", "input"]
        assert tree.states() == {"output": "running", "middle": "running", "input": "running"}
        assert await tree.end() == ["end input", "end middle", "end output"]
        assert tree.exits[0].failure is None

    run(test)


def test_a_failed_child_is_restarted_with_its_reason_shown_and_its_messages_kept():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"), tree.spec("b"))
        tree.clock.advance(1)
        for message in ("one", "dud", "two"):
            tree.tell("a", message)
        await until(lambda: "a got two" in tree.diary, "the next life reads on")
        assert tree.diary == ["start a", "start b", "a got one", "end a", "start a", "a got two"]
        node = tree.nodes["a"]
        assert (node.state, node.restarts, node.last_failure) == ("running", 1, "Dud: broken")
        assert node.last_failure_ms == tree.clock.ms
        assert (tree.nodes["b"].restarts, tree.exits) == (0, [])

    run(test)


@pytest.mark.parametrize(
    ("restart", "after_leaving", "after_failing"),
    [("permanent", 2, 2), ("transient", 1, 2), ("temporary", 1, 1)],
)
def test_who_is_started_again(restart: Restart, after_leaving: int, after_failing: int):
    async def leaving(tree: Tree) -> None:
        tree.start(tree.spec("a", restart))
        tree.tell("a", Leave())
        await until(lambda: "end a" in tree.diary, "it leaves")
        await settle()
        assert len(starts(tree.diary)) == after_leaving

    async def failing(tree: Tree) -> None:
        tree.start(tree.spec("a", restart))
        tree.tell("a", "dud")
        await until(lambda: "end a" in tree.diary, "it fails")
        await settle()
        assert len(starts(tree.diary)) == after_failing
        assert tree.exits == []

    run(leaving)
    run(failing)


def test_a_permanent_child_that_stops_by_itself_is_a_failure():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"))
        tree.tell("a", Leave())
        await until(lambda: tree.nodes["a"].restarts == 1, "it is counted")
        assert tree.nodes["a"].last_failure == "stopped by itself"

    run(test)


def test_the_second_failure_waits_and_each_further_one_twice_as_long():
    """The clock stands still, so no failure grows old."""
    slow = Intensity(restarts=99, first_backoff_s=0.0, next_backoff_s=0.001, max_backoff_s=0.003)

    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"))
        with capture_logs() as said:
            for number in range(5):
                await tree.fail("a")
                await until(lambda: tree.nodes["a"].state == "running", f"restart {number}")
        assert [line["in_s"] for line in said] == [0.0, 0.001, 0.002, 0.003, 0.003]

    run(test, slow)


def test_a_child_that_waits_for_its_restart_is_not_waited_for_at_the_end():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"), tree.spec("b"))
        await tree.fail("b")
        assert await tree.end() == ["end a"]
        await settle()
        assert starts(tree.diary) == []

    run(test, Intensity(first_backoff_s=60))


def test_too_many_failures_end_the_supervisor_after_its_children():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"), tree.spec("b"), tree.spec("c"))
        for _ in range(3):
            await tree.fail("b")
            await until(lambda: tree.nodes["b"].state == "running", "it is back")
        tree.diary.clear()
        tree.tell("b", "dud")
        await until(lambda: tree.exits, "it gives up")
        assert tree.diary == ["end b", "end c", "end a"]
        assert tree.exits[0].failure == "GaveUp: b failed 4 times in 10 s, last: Dud: broken"

    run(test, Intensity(restarts=3, next_backoff_s=0.0, max_backoff_s=0.0))


def test_failures_that_are_long_past_do_not_count():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"))
        for _ in range(20):
            await tree.fail("a")
            await until(lambda: tree.nodes["a"].state == "running", "it is back")
            tree.clock.advance(6)
        assert (tree.nodes["a"].restarts, tree.exits) == (20, [])

    run(test, Intensity(restarts=2, next_backoff_s=0.0, max_backoff_s=0.0))


def test_a_child_that_never_lives_long_ends_the_supervisor_however_long_the_pauses_are():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"))
        for _ in range(3):
            await tree.fail("a")
            await until(lambda: tree.nodes["a"].state == "running", "it is back")
            tree.clock.advance(20)  # lives well for a while: the count begins anew
            await tree.fail("a")
            await until(lambda: tree.nodes["a"].state == "running", "it is back")
            tree.clock.advance(4)
        assert tree.exits == []
        for _ in range(2):
            await tree.fail("a")
            await until(lambda: tree.nodes["a"].state == "running", "it is back")
            tree.clock.advance(4)
        tree.tell("a", "dud")
        await until(lambda: tree.exits, "it gives up")
        assert tree.exits[0].failure == "GaveUp: a failed 4 times in a row, last: Dud: broken"

    run(test, Intensity(restarts=99, within_s=1.0, next_backoff_s=0.0, max_backoff_s=0.0, in_a_row=3))


def test_a_significant_childs_failure_is_the_supervisors_own():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"), tree.spec("heart", significant=True), tree.spec("b"))
        tree.tell("heart", "dud")
        await until(lambda: tree.exits, "it ends")
        assert "heart failed" in (tree.exits[0].failure or "")
        assert starts(tree.diary) == ["a", "heart", "b"]
        assert tree.diary[-2:] == ["end b", "end a"]

    run(test)


def test_the_level_above_starts_the_whole_branch_anew():
    async def test(tree: Tree) -> None:
        branch = Node(Mailbox("branch"), "supervisor")
        specs = (tree.spec("a"), tree.spec("heart", significant=True))
        tree.start(
            ChildSpec(
                node=branch,
                start=lambda mailbox: Supervisor.start(mailbox, branch, specs, tree.clock, AT_ONCE),
            )
        )
        tree.tell("a", "one")
        tree.tell("heart", "dud")
        await until(lambda: starts(tree.diary) == ["a", "heart", "a", "heart"], "the branch is back")
        assert branch.restarts == 1
        assert [child.name for child in branch.children] == ["a", "heart"]
        assert await tree.end() == ["end heart", "end a"]

    run(test)


def test_a_child_that_cannot_start_is_tried_again():
    async def test(tree: Tree) -> None:
        tries: list[int] = []

        def start(mailbox: Mailbox) -> object:
            tries.append(1)
            if len(tries) < 3:
                raise OSError("no memory")
            return Child.start(mailbox, tree.diary)

        tree.start(tree.spec("a", start=start))
        await until(lambda: tree.nodes["a"].state == "running", "it runs at last")
        assert (tree.nodes["a"].restarts, tree.nodes["a"].last_failure) == (2, "OSError: no memory")

    run(test)


def test_what_a_person_must_mend_ends_the_start_and_those_that_were_started():
    async def test(tree: Tree) -> None:
        def refuse(_: Mailbox) -> object:
            raise ConfigError("the port is taken")

        with pytest.raises(ConfigError, match="the port is taken"):
            tree.start(tree.spec("a"), tree.spec("b", start=refuse), tree.spec("c"))
        await until(lambda: tree.diary == ["start a", "end a"], "the first is ended")
        assert tree.exits == []

    run(test)


def test_children_come_and_go_while_it_runs():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"))
        for name in ("s1", "s2", "s3"):
            tree.node.mailbox.tell(StartChild(tree.spec(name, "temporary")))
        await until(lambda: len(tree.states()) == 4, "they are started")
        tree.node.mailbox.tell(StopChild("s2"))
        tree.tell("s1", "dud")
        await until(lambda: tree.states() == {"a": "running", "s3": "running"}, "two are gone")
        assert (tree.nodes["s1"].last_failure, tree.nodes["s1"].restarts) == ("Dud: broken", 0)
        assert await tree.end() == ["end s3", "end a"]

    run(test)


def test_ten_thousand_temporary_failures_do_not_end_it():
    async def test(tree: Tree) -> None:
        tree.start()
        for number in range(200):
            tree.node.mailbox.tell(StartChild(tree.spec(f"s{number}", "temporary")))
        await until(lambda: len(tree.states()) == 200, "they are started")
        for number in range(200):
            tree.tell(f"s{number}", "dud")
        await until(lambda: not tree.states(), "all have failed")
        assert tree.exits == []

    run(test, Intensity(restarts=3))


def test_nobody_is_started_while_it_stops():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a", stubborn=True, shutdown_s=0.05))
        tree.node.mailbox.shut_down()
        tree.node.mailbox.tell(StartChild(tree.spec("late", "temporary")))
        await until(lambda: tree.exits, "it has ended")
        assert starts(tree.diary) == ["a"]

    run(test)


def test_a_child_that_does_not_stop_in_time_is_ended_and_the_others_stop_in_order():
    async def test(tree: Tree) -> None:
        tree.start(tree.spec("a"), tree.spec("b", stubborn=True, shutdown_s=0.02), tree.spec("c"))
        assert await tree.end() == ["end c", "end b", "end a"]

    run(test)


def test_a_branch_that_starts_anew_has_left_no_life_of_the_old_one():
    """Two lanes at once would both write."""

    async def test(tree: Tree) -> None:
        branch = Node(Mailbox("branch"), "supervisor")
        specs = (
            tree.spec("lane", stubborn=True, shutdown_s=0.02),
            tree.spec("heart", significant=True),
        )
        tree.start(
            ChildSpec(node=branch, start=lambda mailbox: Supervisor.start(mailbox, branch, specs, tree.clock, AT_ONCE))
        )
        tree.tell("heart", "dud")
        await until(lambda: tree.diary.count("start lane") == 2, "the branch is back")
        assert tree.diary.index("end lane") < len(tree.diary) - 1 - tree.diary[::-1].index("start lane")

    run(test)


def test_a_bug_in_the_supervisor_leaves_no_life_of_its_children_behind():
    async def test(tree: Tree) -> None:
        branch = Node(Mailbox("branch"), "supervisor")
        specs = (tree.spec("lane"),)
        tree.start(
            ChildSpec(node=branch, start=lambda mailbox: Supervisor.start(mailbox, branch, specs, tree.clock, AT_ONCE))
        )
        branch.mailbox.tell("nonsense")
        await until(lambda: tree.diary.count("start lane") == 2 and "end lane" in tree.diary, "the branch is back")
        await settle()
        assert tree.diary.count("end lane") == 1
        assert tree.nodes["lane"].restarts == 0
        tree.tell("lane", "work")
        await until(lambda: tree.diary[-1] == "lane got work", "the new life works")
        assert branch.last_failure == "TypeError: branch cannot handle str"

    run(test)
