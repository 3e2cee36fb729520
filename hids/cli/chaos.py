"""`hidsctl chaos`: kill and stop the processes of a running manager, a few times, and see that nothing was lost by it."""

import contextlib
import os
import random
import signal
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from hids.adapters.proof import Account, Proof
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.errors import StoreError

PROCESSES = ("worker", "nursery", "lane", "outputs", "index", "senders", "responses", "archive", "keeper", "legacy")
"""Never main: only its service manager could start it again."""

PATIENCE_S = 60.0
"""After a fault: how long until all must run again."""
LOOK_S = 0.1
STOPPED_S = 1.0


def chaos(
    ctx: typer.Context,
    *,
    faults: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 10,
    every: Annotated[float, typer.Option(min=0.5, max=3600.0, help="Seconds between two, at least.")] = 5.0,
    only: Annotated[str, typer.Option(help=f"One of {', '.join(PROCESSES)}; all when left out.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Kill (SIGKILL) or stop (SIGSTOP, SIGCONT) processes of the running manager, one after the other, and report.

    Each time everything must run again before the next one comes; it ends at once when it does not. Agents only see their
    lines acknowledged a little later. Run it as root or as the manager's user, on an instance of your own.

    \b
    Examples:
      hidsctl chaos
      hidsctl chaos --faults 50 --every 10 --only lane --yes --json

    Exit status: 0 nothing lost and the ledger balances, 1 not so, or something did not come back, 3 no manager answers.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    if only not in ("", *PROCESSES):
        raise typer.BadParameter(f"expected one of {', '.join(PROCESSES)}, got {plain(only)!r}", param_hint="--only")
    settings.ask("status")
    if not yes:
        typer.confirm(f"kill or stop processes of this manager {faults} times?", abort=True, err=True)
    before = _account(settings)
    done: dict[str, list[float]] = defaultdict(list)
    failure = ""
    try:
        for kind, seconds in _faults(settings, faults, every, only):
            done[kind].append(seconds)
    except _Stuck as stuck:
        failure = str(stuck)
    answer = _report(before, _account(settings), done, failure)
    settings.show(answer, _print, json=json)
    if failure or answer["lost"] or not answer["balances"]:
        raise typer.Exit(REFUSED)


class _Stuck(Exception):  # noqa: N818 - a state
    """The manager did not become whole again."""


def _faults(settings: Settings, count: int, every_s: float, only: str) -> Iterator[tuple[str, float]]:
    """Do the faults; gives what was done and the seconds until all ran again."""
    chance = random.Random()  # noqa: S311 - no secret
    _whole(settings)
    for _ in range(count):
        began = time.monotonic()
        name, pid = chance.choice(_victims(settings, only))
        kind = f"{chance.choice(('kill', 'stop'))} {name.split('-')[0]}"
        try:
            if kind.startswith("kill"):
                os.kill(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGSTOP)
                try:
                    time.sleep(STOPPED_S)
                finally:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue
        except PermissionError:
            fail(f"process {pid} ({name}) is not ours to signal: run this as root or as the manager's user", REFUSED)
        _whole(settings, name, pid if kind.startswith("kill") else 0)
        yield kind, time.monotonic() - began
        time.sleep(max(0.0, began + every_s - time.monotonic()))


def _victims(settings: Settings, only: str) -> list[tuple[str, int]]:
    """(name, pid) of each process that may be hit."""
    found = [
        (node["name"], int(node["facts"]["pid"]))
        for node in _nodes(settings.ask("status")["tree"])
        if node["facts"].get("pid") and node["name"].split("-")[0] in ((only,) if only else PROCESSES)
    ]
    if not found:
        fail(f"no process {only or 'of this manager'} runs", REFUSED)
    return found


def _whole(settings: Settings, name: str = "", not_pid: int = 0) -> None:
    """Wait until everything runs, the process `name` as another one than `not_pid`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        nodes = list(_nodes(settings.ask("status")["tree"]))
        renewed = all(node["facts"].get("pid") not in (not_pid, 0) for node in nodes if name and node["name"] == name)
        if renewed and all(node["state"] == "running" for node in nodes):
            return
        time.sleep(LOOK_S)
    raise _Stuck(f"{name or 'the manager'} does not run again after {PATIENCE_S:g} s; see hidsctl status")


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from _nodes(child)


def _account(settings: Settings) -> Account:
    try:
        return Proof(settings.paths.ledger).account()
    except StoreError as error:
        fail(str(error), NO_MANAGER)


def _report(before: Account, after: Account, done: dict[str, list[float]], failure: str) -> dict[str, Any]:
    def total(account: Account, what: str) -> int:
        return sum(interval.counts.get(what, 0) for interval in account.intervals)

    gaps = after.gaps()
    return {
        "faults": sum(map(len, done.values())),
        "lost": total(after, "lost") - total(before, "lost"),
        "balances": not gaps,
        "gaps": [f"{gap.source}, epoch {gap.epoch}, {gap.first} to {gap.last}: {gap.text}" for gap in gaps],
        "lines": sum(one.lines for one in after.intervals) - sum(one.lines for one in before.intervals),
        "alerts": after.alerts - before.alerts,
        "failure": failure,
        "recovery_s": {
            kind: {"times": len(spans), "median": round(statistics.median(spans), 2), "max": round(max(spans), 2)}
            for kind, spans in sorted(done.items())
        },
    }


def _print(answer: dict[str, Any]) -> None:
    typer.echo(f"{answer['faults']} faults, {answer['lines']} lines and {answer['alerts']} alerts committed meanwhile")
    for kind, spans in answer["recovery_s"].items():
        typer.echo(
            f"  {kind:16} {spans['times']:4} times, all ran again after {spans['median']:.2f} s, {spans['max']:.2f} s at most"
        )
    if answer["failure"]:
        typer.echo(plain(answer["failure"]), err=True)
    typer.echo(f"lost: {answer['lost']}; the ledger {'balances' if answer['balances'] else 'does not balance'}")
    for gap in answer["gaps"]:
        typer.echo(plain(gap))
