"""Sets up .venv in the project and runs all that must be true before a change is handed in.

Every check runs, even when one before it failed; the exit status is 1 when any did. `tools/check` starts this.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

from environment import PROJECT, Environment, InstallError, development

CHECKS = {
    "ruff format": ("ruff", "format", "--check"),
    "ruff check": ("ruff", "check"),
    "mypy": ("mypy",),
    "basedpyright": ("basedpyright",),
    "lint-imports": ("lint-imports",),
    "pytest": ("pytest",),
    "campaign": ("python", "tools/campaign.py", "--faults", "140", "--agents", "4", "--rate", "300"),
}
"""Name -> command line, the quick ones first."""

DATA = {
    "HIDS_CONFORMANCE": "the public rulesets",
    "HIDS_BENCH": "the logs to measure with",
    "HIDS_DESIGN": "the cases of the rule language",
}
"""Tests read folders that are no part of the project when these variables name them, and are skipped otherwise."""


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/check", description="Set up .venv and run all checks and tests.")
    parser.add_argument(
        "--fast", action="store_true", help="leave out tests that are marked slow, and the campaign of faults"
    )
    parser.add_argument("--only", action="append", choices=CHECKS, metavar="CHECK", help=f"one of: {', '.join(CHECKS)}")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would tests
    try:
        environment = development()
    except InstallError as error:
        print(f"tools/check: {error}", file=sys.stderr)
        return 1
    for name, what in DATA.items():
        if name not in os.environ:
            print(f"{name} is not set: tests that need {what} are skipped")
    results: dict[str, tuple[int, float]] = {}
    for name in options.only or CHECKS:
        if name == "campaign" and options.fast and not options.only:
            continue
        arguments = ("-m", "not slow") if name == "pytest" and options.fast else ()
        results[name] = _run(environment, name, (*CHECKS[name], *arguments))
    print("\n== summary")
    for name, (status, seconds) in results.items():
        print(f"{'ok' if status == 0 else 'FAILED':8}{name:14}{seconds:6.1f} s")
    return int(any(status for status, _ in results.values()))


def _run(environment: Environment, name: str, command: tuple[str, ...]) -> tuple[int, float]:
    """Run one check in the project's folder; returns its status and its seconds."""
    print(f"\n== {name}", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        (environment.command(command[0]), *command[1:]),
        cwd=PROJECT,
        env=environment.variables(),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
