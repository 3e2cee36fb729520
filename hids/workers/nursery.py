"""The nursery: one process a set of rulesets. Loads and compiles them once, then forks workers on request.

    main --Fork + descriptors--> nursery --NurseryReady|NurseryRefused|WorkerForked|WorkerExited--> main

Executed afresh (not forked) and single-threaded, so a fork is safe and takes about a millisecond. Not multiprocessing's
fork server: that one goes on serving the old ruleset after a reload and outlives a killed manager.
"""

import argparse
import gc
import itertools
import multiprocessing
import os
import socket
import sys
from collections.abc import Collection, Sequence
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import msgspec

from hids.adapters.family import die_with_parent
from hids.adapters.files import write_atomically
from hids.adapters.goodrules import GoodRules, RulesRead
from hids.adapters.pattern_cache import PatternCache
from hids.adapters.rulesets import read_lists, read_ruleset
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import Ruleset
from hids.errors import ConfigError, Problem, RulesetError
from hids.messages.nursery import Fork, FromNursery, NurseryReady, NurseryRefused, WorkerExited, WorkerForked
from hids.messages.supervision import Pulse
from hids.messages.terms import Correlation
from hids.workers import worker
from hids.workers.inside import PULSE_S, collect_seldom, move_in, run

EX_CONFIG = 78
"""Exit status when the rulesets are refused (sysexits.h)."""

DATAGRAM_BYTES = 256 * 1024
"""Longest message on the nursery's socket: a long list of problems is cut to fit."""

PROBLEMS_TOLD = 200

_encode = msgspec.msgpack.Encoder().encode
_fork_decoder = msgspec.msgpack.Decoder(Fork)


class Folder(msgspec.Struct, frozen=True):
    """One `[[ruleset]]` of manager.toml."""

    name: str
    path: str
    dialect: str
    correlation: Correlation = "native"
    only: str = ""
    """Beginning of the names of the files to read; empty: all."""
    yields: dict[str, str] = {}
    """Subject (`Ruleset.tells`) -> name of the file that is left out when a ruleset before this one tells of it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Load, say so, and serve until main closes the socket."""
    options = _parser().parse_args(arguments)
    move_in(options.parent)
    collect_seldom()
    control = socket.socket(fileno=options.control_fd)
    folders = msgspec.json.decode(options.rulesets, type=tuple[Folder, ...])
    cache, good = (Path(options.tables).with_name(name) for name in ("patterns", "rules.good"))
    try:
        plans, problems = _load(folders, PatternCache(cache), GoodRules(good), reloads=options.reloads)
    except ConfigError as error:
        _send(control, NurseryRefused(problems=_told(error)))
        sys.exit(EX_CONFIG)
    for plan in plans:
        write_atomically(Path(options.tables) / f"{plan.hash}.msgpack", msgspec.msgpack.encode(plan.table), mode=0o600)
    gc.collect()
    gc.freeze()
    _send(
        control,
        NurseryReady(
            rulesets=tuple((plan.name, plan.hash, plan.counts.decoders, plan.counts.rules) for plan in plans),
            problems=problems,
        ),
    )
    _serve(control, plans, options.manager, None if options.stats is None else Path(options.stats))


def _load(
    folders: Sequence[Folder], cache: PatternCache, good: GoodRules, *, reloads: bool
) -> tuple[list[Plan], tuple[str, ...]]:
    """The plans, and what is wrong with the rules on disk: then they are those of the rules that were good last.

    Raises:
        ConfigError: the rules on disk cannot be used, and there are no others, or they are loaded for a reload: then the ones in
            use are better.
    """
    key = msgspec.msgpack.encode(tuple(folders))
    try:
        read = [read_folder(folder) for folder in folders]
        plans = compile_all(folders, cache, read)
    except ConfigError as error:
        kept = None if reloads else good.load(key)
        if kept is None:
            raise
        try:
            return compile_all(folders, cache, kept), _told(error)
        except ConfigError:  # they were good for another version
            raise error from None
    good.save(key, read)
    return plans, ()


def _told(error: ConfigError) -> tuple[str, ...]:
    """Each problem in words, as far as they fit into a datagram."""
    problems = error.problems if isinstance(error, RulesetError) else (error,)
    texts = [str(problem) for problem in problems]
    if len(texts) > PROBLEMS_TOLD:
        texts[PROBLEMS_TOLD:] = [f"... and {len(texts) - PROBLEMS_TOLD} more"]
    return tuple(text[:1000] for text in texts)


def read_folder(folder: Folder) -> RulesRead:
    """Read one ruleset.

    Raises:
        ConfigError: it cannot be read.
    """
    path = Path(folder.path)
    files = (file for file in read_ruleset(path) if Path(file.path).name.startswith(folder.only))
    return RulesRead(tuple(files), read_lists(path))


def load_folder(
    folder: Folder, *, strict: bool = False, without: Collection[str] = (), read: RulesRead | None = None
) -> Ruleset:
    """Load one ruleset; `strict`: what would be left out with a reason is a problem.

    `without` names files that are left out; `read` is what was read of it, None: it is read now.

    Raises:
        RulesetError: with all that is wrong with it.
        ConfigError: it cannot be read.
    """
    read = read or read_folder(folder)
    return load(
        folder.name,
        folder.dialect,
        [file for file in read.files if Path(file.path).name not in without],
        read.lists,
        correlation=folder.correlation,
        strict=strict,
    )


def compile_all(
    folders: Sequence[Folder], cache: PatternCache | None = None, read: Sequence[RulesRead] = ()
) -> list[Plan]:
    """Load and compile every ruleset; all problems of all of them are raised together.

    `read` is what was read of each; empty: they are read now.
    """
    plans: list[Plan] = []
    problems: list[Problem] = []
    told: frozenset[str] = frozenset()
    for folder, of_it in itertools.zip_longest(folders, read):
        try:
            without = [file for subject, file in folder.yields.items() if subject in told]
            ruleset = load_folder(folder, without=without, read=of_it)
            told |= ruleset.tells
            plans.append(compile_plan(ruleset, cache))
        except RulesetError as error:
            problems.extend(error.problems)
    if problems:
        raise RulesetError(problems)
    return plans


def _serve(control: socket.socket, plans: Sequence[Plan], manager: str, stats: Path | None) -> None:
    context = multiprocessing.get_context("fork")
    workers: dict[int, tuple[int, ForkProcess]] = {}
    while True:
        ready = connection.wait([control, *workers], timeout=PULSE_S)
        if not ready:
            _send(control, Pulse(nodes=()))
        for sentinel in ready:
            if isinstance(sentinel, int):
                number, process = workers.pop(sentinel)
                process.join()
                _send(control, WorkerExited(number, process.pid or 0, process.exitcode or 0))
        if control in ready:
            data, descriptors = _receive(control)
            if not data:
                os._exit(0)  # main is gone; workers see EOF on their own channels
            request = _fork_decoder.decode(data)
            channel_fd, progress_fd = descriptors
            process = context.Process(
                target=_become_worker,
                args=(control, os.getpid(), channel_fd, progress_fd, request.worker, plans, manager, stats),
                name=f"hids-worker-{request.worker}",
                daemon=True,
            )
            process.start()
            os.close(channel_fd)
            os.close(progress_fd)
            workers[process.sentinel] = (request.worker, process)
            _send(control, WorkerForked(request.worker, process.pid or 0))


def _become_worker(
    control: socket.socket,
    nursery: int,
    channel_fd: int,
    progress_fd: int,
    number: int,
    plans: Sequence[Plan],
    manager: str,
    stats: Path | None,
) -> None:
    control.close()
    die_with_parent(nursery)
    run(worker.main(channel_fd, progress_fd, number, plans, manager, stats))


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """One message and the descriptors that came with it; nothing when main is gone."""
    try:
        data, descriptors, _flags, _address = socket.recv_fds(control, DATAGRAM_BYTES, 2)
    except ConnectionResetError:  # it was killed before it read what we sent
        return b"", []
    return data, descriptors


def _send(control: socket.socket, message: FromNursery) -> None:
    try:
        control.send(_encode(message))
    except OSError:
        os._exit(0)  # main is gone


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hids-nursery", description="Started by hids-manager; not for people.")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tables", required=True, help="folder for the rule tables that the lane reads")
    parser.add_argument("--reloads", action="store_true", help="refuse rules that are broken, whatever was good before")
    parser.add_argument("--stats", help="folder for what workers sample of rules; default: nothing is sampled")
    parser.add_argument("--rulesets", required=True, help="JSON list of {name, path, dialect}")
    parser.add_argument("--manager", required=True, help="the manager's name in alerts")
    return parser


if __name__ == "__main__":
    main()
