"""A process that evaluates one policy on this host and says what came of it. Started by `policy.py`; not for people.

    policy file, or a sent one on stdin -> policy scanner --Report (msgpack, on stdout)--> policy actor

A process of its own, because a pattern may take long, a file system may not answer, and a large policy takes memory that is
given back when the process ends. It is as nice as can be, and ends itself at its limit, and when the agent ends.
"""

import argparse
import contextlib
import hashlib
import os
import signal
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import msgspec
import psutil

from hids.adapters.clock import SystemClock
from hids.adapters.family import die_with_parent
from hids.agent.policyhost import LocalHost
from hids.agent.registrysource import registry_of
from hids.core.collect.config import MAX_CONFIG_BYTES
from hids.core.collect.policy import unpack
from hids.core.policy.document import MAX_BYTES
from hids.core.policy.judge import is_for, judge
from hids.core.policy.lines import Report, checked
from hids.core.policy.load import load_policy
from hids.errors import ConfigError

_OTHERS_WRITE = 0o022
"""Bits of a mode. Who else may write a policy, or put another one in its place, could have us run what he likes."""


def scan(path: str, host: LocalHost) -> Report:
    """Evaluate the policy in a file of this host; one that cannot be used is a report with a problem."""
    return _evaluate(path, lambda: read_trusted(path), host)


def scan_sent(file: str, packed: bytes, host: LocalHost) -> Report:
    """Evaluate a policy that the manager sent."""
    return _evaluate(f"{file} (sent by the manager)", lambda: unpack(packed), host)


def _evaluate(where: str, read: Callable[[], bytes], host: LocalHost) -> Report:
    clock = SystemClock()
    began_ms = clock.now_ms()
    try:
        data = read()
        policy = load_policy(data, where)
    except ConfigError as error:
        problem = str(error)
        if not problem.startswith(where):
            problem = f"{where}: {problem}"
        return Report(problem=problem, began_ms=began_ms, ended_ms=clock.now_ms())
    applies = is_for(policy, host)
    return Report(
        policy_id=policy.id,
        name=policy.name,
        file=policy.file,
        description=policy.description,
        references=policy.references,
        hash_file=hashlib.sha256(data).hexdigest(),
        applies=applies,
        checked=tuple(checked(policy, check, judge(check, host)) for check in policy.checks) if applies else (),
        began_ms=began_ms,
        ended_ms=clock.now_ms(),
    )


def read_trusted(path: str) -> bytes:
    """A policy's bytes, if only root and this user can have written them.

    Raises:
        ConfigError: unreadable, or others may write it.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            for folder in Path(os.path.realpath(path)).parents:
                _check_owner(str(folder), folder.stat())
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _check_owner(path: str, found: os.stat_result) -> None:
    """As /tmp, a folder may be open to all if its files are safe from others (sticky)."""
    is_safe_folder = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
    if found.st_uid not in (0, os.geteuid()) or (found.st_mode & _OTHERS_WRITE and not is_safe_folder):
        raise ConfigError(
            f"{path}: others than root and this user may write it, and policies run commands; "
            f"chown root {path}; chmod go-w {path}"
        )


def be_nice() -> None:
    """Let everybody else go first."""
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(psutil.Error, OSError, AttributeError, ValueError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate one policy and print its report."""
    parser = argparse.ArgumentParser(prog="hids-policyscan", description="Started by hids-agent; not for people.")
    parser.add_argument("--timeout", type=float, required=True, help="seconds that a command may take")
    parser.add_argument("--limit", type=float, required=True, help="seconds that all may take")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--no-commands", default="", metavar="WHY")
    parser.add_argument("--network", action="store_true", help="look at network file systems, too")
    parser.add_argument("--hive", action="append", default=[], nargs=2, metavar=("KEY", "FILE"))
    parser.add_argument("--sent", action="store_true", help="the policy is on stdin, packed")
    parser.add_argument("file")
    options = parser.parse_args(arguments)
    be_nice()
    host = LocalHost(
        timeout_s=options.timeout,
        refusal=options.no_commands,
        skip_network=not options.network,
        registry=registry_of(options.hive),
    )

    def end(number: int, _frame: FrameType | None) -> None:
        host.end_command()
        os._exit(128 + number)

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    die_with_parent(options.parent, signal.SIGTERM)
    signal.setitimer(signal.ITIMER_REAL, options.limit)
    if options.sent:
        report = scan_sent(options.file, sys.stdin.buffer.read(MAX_CONFIG_BYTES + 1), host)
    else:
        report = scan(options.file, host)
    sys.stdout.buffer.write(msgspec.msgpack.encode(report))


if __name__ == "__main__":
    main()
