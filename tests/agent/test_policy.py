"""Policies on a real spool: what is news is told, once, whatever happens in between."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hids.agent.config import PolicyConfig
from hids.agent.policy import PolicyWatch, ScanPolicies
from hids.agent.shared import NO_POLICIES, SentPolicies
from hids.core.collect.policy import SentPolicy, pack

Scene = Callable[..., None]
pytestmark = pytest.mark.slow


class Policies:
    """A folder with one policy of two checks, each about a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "policies"
        self.folder.mkdir(mode=0o755)
        self.targets = [folder / "one", folder / "two"]
        self.write("p", self.targets)

    def write(self, name: str, targets: list[Path], title: str = "t", required: str = "d:/etc") -> Path:
        checks = [
            f"  - {{id: {number}, title: {title}, condition: all, rules: ['f:{target} -> r:good']}}"
            for number, target in enumerate(targets, 1)
        ]
        path = self.folder / f"{name}.yml"
        path.write_text(
            f"policy: {{id: {name}, file: {name}.yml, name: {name.upper()}, description: d}}\n"
            f"requirements: {{title: r, condition: all, rules: ['{required}']}}\nchecks:\n" + "\n".join(checks) + "\n"
        )
        path.chmod(0o644)
        return path

    def config(self, **keys: Any) -> PolicyConfig:
        return PolicyConfig(files=(f"{self.folder}/*.yml",), scan_interval_s=3600, **keys)


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    made = Policies(tmp_path)
    made.targets[0].write_text("good\n")
    made.targets[1].write_text("bad\n")
    return made


def told(yard: Any) -> list[tuple[Any, ...]]:
    """Lines in short."""
    found: list[tuple[Any, ...]] = []
    for line in yard.lines:
        said = json.loads(line.text)
        match said["type"]:
            case "check":
                result = said["check"].get("result") or said["check"]["status"]
                found.append((said["policy_id"], said["check"]["id"], result, said.get("previous_result", "")))
            case "summary":
                found.append((said["policy_id"], "summary", said["score"], said.get("first_scan", 0)))
            case "scanned":
                found.append((said["policy_id"], "scanned"))
            case _:
                found.append(("policies", tuple(said["policies"])))
    return found


async def scan(yard: Any, until: Any, config: PolicyConfig) -> list[tuple[Any, ...]]:
    """Start the actor, let it scan, and give what was told since before."""
    before = len(yard.lines)
    state = yard.start(PolicyWatch, "policy", config, NO_POLICIES, (), yard.path.with_name("told"))
    await until(lambda: state.idle and state.state == "waiting for the next scan" and len(yard.lines) >= before)
    return told(yard)[before:]


async def again(yard: Any, until: Any) -> list[tuple[Any, ...]]:
    """Have it scan once more."""
    before = len(yard.lines)
    yard.desk.routes["policy"].tell(ScanPolicies())
    await until(lambda: len(yard.lines) > before)
    await asyncio.sleep(0)
    return told(yard)[before:]


FIRST = [("p", 1, "passed", ""), ("p", 2, "failed", ""), ("p", "summary", 50, 1)]


def test_the_first_scan_tells_all_and_later_ones_what_changed(in_yard: Scene, policies: Policies):
    async def scene(yard: Any, until: Any) -> None:
        assert await scan(yard, until, policies.config()) == FIRST
        assert {line.kind for line in yard.lines} == {"sca"}
        assert {line.location for line in yard.lines} == {"sca"}
        assert await again(yard, until) == [("p", "scanned")]
        policies.targets[0].write_text("worse\n")
        assert await again(yard, until) == [("p", 1, "failed", "passed"), ("p", "summary", 0, 0)]
        policies.targets[0].unlink()
        assert await again(yard, until) == [("p", 1, "Not applicable", "failed"), ("p", "summary", 0, 0)]

    in_yard(scene)


def test_a_restart_tells_nothing_twice(in_yard: Scene, policies: Policies):
    async def first(yard: Any, until: Any) -> None:
        assert await scan(yard, until, policies.config()) == FIRST

    async def second(yard: Any, until: Any) -> None:
        state = yard.start(PolicyWatch, "policy", policies.config(), NO_POLICIES, (), yard.path.with_name("told"))
        await until(lambda: len(yard.lines) == 4)
        await until(lambda: state.idle)
        assert told(yard)[3:] == [("p", "scanned")]

    async def third(yard: Any, until: Any) -> None:
        state = yard.start(
            PolicyWatch, "policy", policies.config(scan_on_start=False), NO_POLICIES, (), yard.path.with_name("told")
        )
        await until(lambda: state.idle)
        assert len(yard.lines) == 4

    in_yard(first)
    in_yard(second)
    in_yard(third)


def test_a_scan_that_was_cut_off_is_made_whole(in_yard: Scene, policies: Policies, monkeypatch: pytest.MonkeyPatch):
    """As after a kill between the check's line and the summary."""
    monkeypatch.setattr("hids.agent.policy.LINES_AT_ONCE", 1)

    async def first(yard: Any, until: Any) -> None:
        put, count = PolicyWatch.put, 0

        async def dies(self: PolicyWatch, lines: Any, positions: Any) -> None:
            nonlocal count
            count += 1
            if count > 1:
                await asyncio.sleep(3600)
            await put(self, lines, positions)

        with monkeypatch.context() as patched:
            patched.setattr(PolicyWatch, "put", dies)
            yard.start(PolicyWatch, "policy", policies.config(), NO_POLICIES, (), yard.path.with_name("told"))
            await until(lambda: yard.lines)

    async def second(yard: Any, until: Any) -> None:
        state = yard.start(PolicyWatch, "policy", policies.config(), NO_POLICIES, (), yard.path.with_name("told"))
        await until(lambda: len(yard.lines) == 3)
        await until(lambda: state.idle)
        assert told(yard) == FIRST

    in_yard(first)
    in_yard(second)


def test_a_policy_that_changes_or_goes_is_told(in_yard: Scene, policies: Policies):
    async def scene(yard: Any, until: Any) -> None:
        assert await scan(yard, until, policies.config()) == FIRST
        policies.write("p", policies.targets, title="other")
        assert await again(yard, until) == [
            ("p", 1, "passed", "passed"),
            ("p", 2, "failed", "failed"),
            ("p", "summary", 50, 0),
        ]
        policies.write("p", policies.targets[:1], title="other")
        assert await again(yard, until) == [("p", "summary", 100, 0)]
        policies.write("q", policies.targets[:1])
        assert set(await again(yard, until)) >= {("p", "scanned")}
        await until(lambda: told(yard)[-1] == ("q", "summary", 100, 1))
        policies.write("p", policies.targets[:1], required="f:/no/such/os")
        await again(yard, until)
        await until(lambda: told(yard)[-1] == ("policies", ("q",)))
        (policies.folder / "q.yml").unlink()
        await again(yard, until)
        await until(lambda: told(yard)[-1] == ("policies", ()))

    in_yard(scene)


def test_a_broken_policy_is_said_once_and_forgets_nothing(in_yard: Scene, policies: Policies):
    async def scene(yard: Any, until: Any) -> None:
        assert await scan(yard, until, policies.config()) == FIRST
        path = policies.folder / "p.yml"
        whole = path.read_text()
        path.write_text("checks: [")
        yard.desk.routes["policy"].tell(ScanPolicies())
        await until(lambda: yard.said)
        assert yard.said[0].startswith(f"policy unusable: {path}:2: not YAML")
        path.write_text(whole)
        assert await again(yard, until) == [("p", "scanned")]
        assert len(yard.said) == 1

    in_yard(scene)


def test_what_is_wrong_with_files_is_said(in_yard: Scene, policies: Policies, tmp_path: Path):
    async def scene(yard: Any, until: Any) -> None:
        (policies.folder / "twin.yml").write_bytes((policies.folder / "p.yml").read_bytes())
        open_ = policies.write("open", policies.targets)
        open_.chmod(0o666)
        config = PolicyConfig(files=(f"{policies.folder}/*.yml", f"{tmp_path}/none/*.yml"), scan_interval_s=3600)
        await scan(yard, until, config)
        await until(lambda: len(yard.said) == 3)
        assert yard.said[0] == f"policy unusable: {tmp_path}/none/*.yml: no such file"
        assert "others than root and this user may write it" in yard.said[1]
        assert yard.said[2].endswith(f"twin.yml: its id p is that of {policies.folder}/p.yml")

    in_yard(scene)


def test_a_policy_that_hangs_is_ended_and_the_others_go_on(in_yard: Scene, policies: Policies):
    async def scene(yard: Any, until: Any) -> None:
        slow = policies.write("a-slow", policies.targets)
        slow.write_text(slow.read_text().replace(f"f:{policies.targets[0]}", "c:sleep 65432"))
        config = policies.config(limit_s=2.0)
        await scan(yard, until, config)
        await until(lambda: told(yard) == FIRST)
        assert yard.said == [f"policy unusable: {slow}: took more than 2 s"]

    in_yard(scene)


def sent(policies: Policies, name: str, text: str, refusal: str = "") -> SentPolicies:
    return SentPolicies((pack(f"{name}.yml", text),), "the manager, signed", refusal)


def test_what_the_manager_sent_is_looked_at_and_the_hosts_own_counts(in_yard: Scene, policies: Policies):
    own, theirs = (policies.folder / "p.yml").read_text(), policies.write("q", policies.targets).read_text()
    (policies.folder / "q.yml").unlink()
    both = SentPolicies(
        (pack("p.yml", own.replace("t,", "other,")), pack("q.yml", theirs), pack("r.yml", theirs)), "them", ""
    )

    async def scene(yard: Any, until: Any) -> None:
        mark = yard.path.with_name("told")
        state = yard.start(PolicyWatch, "policy", policies.config(), both, (), mark)
        await until(lambda: state.idle and len(yard.lines) == 6)
        assert told(yard) == [*FIRST, *(("q", *rest) for _, *rest in FIRST)]
        origins = {
            said["policy_id"]: said.get("origin")
            for line in yard.lines
            if (said := json.loads(line.text))["type"] == "summary"
        }
        assert origins == {"p": str(policies.folder / "p.yml"), "q": "them"}
        assert yard.said == ["policy unusable: r.yml (them): its id q is that of q.yml (them)"]
        assert mark.exists()

    async def without(yard: Any, until: Any) -> None:
        """It is told, whatever the times are, and the mark goes."""
        mark = yard.path.with_name("told")
        yard.start(PolicyWatch, "policy", PolicyConfig(scan_on_start=False), NO_POLICIES, (), mark)
        await until(lambda: len(yard.lines) == 7 and not mark.exists())
        assert told(yard)[6:] == [("policies", ())]

    in_yard(scene)
    in_yard(without)


def test_a_sent_policy_that_is_damaged_or_may_run_nothing(in_yard: Scene, policies: Policies):
    text = (policies.folder / "p.yml").read_text().replace("f:", "c:cat ")
    broken = SentPolicies((SentPolicy("x.yml", b"rubbish"),), "them", "")

    async def refused(yard: Any, until: Any) -> None:
        config = PolicyConfig(scan_interval_s=3600)
        state = yard.start(
            PolicyWatch, "policy", config, sent(policies, "p", text, "not here"), (), yard.path.with_name("m")
        )
        await until(lambda: state.idle and len(yard.lines) == 3)
        assert [json.loads(line.text)["check"]["reason"].partition(": ")[2] for line in yard.lines[:2]] == [
            "not here"
        ] * 2

    async def damaged(yard: Any, until: Any) -> None:
        yard.start(PolicyWatch, "policy", PolicyConfig(), broken, (), yard.path.with_name("m"))
        await until(lambda: yard.said)
        assert "policy unusable: x.yml (them): the policy is damaged" in yard.said[0].replace(
            " (sent by the manager)", ""
        )

    in_yard(refused)
    in_yard(damaged)
