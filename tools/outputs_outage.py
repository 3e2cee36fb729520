#!/usr/bin/env python3
"""Every destination of alerts goes away under load, for long and all at once, then for a moment one after the other.

    tools/outputs_outage                                    ten minutes, 20 alerts and 200 lines a second
    tools/outputs_outage --minutes 1 --json
    tools/outputs_outage --minutes 0.2 --only email:email --only sql:lite

E-mail, syslog (TCP, TLS, UDP), webhook, a search engine, SQLite, PostgreSQL, MariaDB and NATS, as far as this machine has their
servers (tools/destinations.py). Afterwards each must have every alert of alerts.json, once or again under the same id. Meanwhile
the pipeline and the other outputs must not notice: it tells how long a line took to be an alert in alerts.json before, during and
after, and how far the other outputs lagged. Exit status: 0 when nothing is lost (over UDP nobody can know).
"""

import argparse
import json
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tests")]

from destinations import Destination, destinations  # noqa: E402 - found on the path above
from stand import Stand, failed_login, wait_for  # noqa: E402 - as above

from hids.errors import HidsError  # noqa: E402 - as above

FILES = ("alerts.json", "alerts.log", "incidents.json", "search.db")
"""Outputs that are always there."""
MAY_LOSE = "syslog:udp"
TICK_S = 0.05
PATIENCE_S = 900.0
"""Pauses between tries grow up to five minutes."""


class Load:
    """Writes lines at a rate, some of them attacks, and notes when each attack was told."""

    def __init__(self, log: Path, alerts: Path, lines_per_s: float, alerts_per_s: float) -> None:
        self.written: dict[str, float] = {}
        """User -> when the line was written."""
        self.told: dict[str, float] = {}
        self.lines = 0
        self._log, self._alerts = log, alerts
        self._rates = lines_per_s, alerts_per_s
        self._end_writing, self._end_looking = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._look)]

    def begin(self) -> None:
        """Write from now on."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Write no more, and wait until all is told."""
        self._end_writing.set()
        self._threads[0].join()
        wait_for(lambda: len(self.told) >= len(self.written), "every attack is in alerts.json", PATIENCE_S)
        self._end_looking.set()
        self._threads[1].join()

    def delays_ms(self, since_s: float, until_s: float) -> dict[str, float]:
        """From line to alert, of the lines that were written in a time."""
        spans = sorted(
            (self.told[user] - at_s) * 1000
            for user, at_s in tuple(self.written.items())
            if since_s <= at_s < until_s and user in self.told
        )
        if not spans:
            return {}
        return {
            "alerts": len(spans),
            "median_ms": round(statistics.median(spans)),
            "p99_ms": round(spans[int(len(spans) * 0.99)]),
            "max_ms": round(spans[-1]),
        }

    def _write(self) -> None:
        began, lines, attacks = time.monotonic(), 0, 0
        with self._log.open("a") as file:
            while not self._end_writing.wait(TICK_S):
                elapsed, at_s = time.monotonic() - began, time.monotonic()
                while attacks < elapsed * self._rates[1]:
                    attacks += 1
                    user = f"x{attacks}"
                    self.written[user] = at_s
                    file.write(failed_login(user, f"10.{attacks >> 16 & 255}.{attacks >> 8 & 255}.{attacks & 255}"))
                while lines < elapsed * self._rates[0]:
                    lines += 1
                    file.write(f"Nov 24 10:00:00 web1 CRON[{lines % 30000}]: (root) CMD (command number {lines})\n")
                file.flush()
                self.lines = lines + attacks

    def _look(self) -> None:
        rest = b""
        wait_for(self._alerts.exists, "the first alert")
        with self._alerts.open("rb") as file:
            while not self._end_looking.wait(0.02):
                *lines, rest = (rest + file.read()).split(b"\n")
                at_s = time.monotonic()
                for line in lines:
                    _, found, after = line.partition(b"invalid user x")
                    if found:
                        self.told.setdefault(f"x{after.split(b' ', 1)[0].decode()}", at_s)


class Samples:
    """What `hidsctl outputs list` says, each second."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self.rows: list[tuple[float, dict[str, dict[str, Any]]]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def last(self, output: str) -> dict[str, Any]:
        """The newest facts of an output."""
        return self.rows[-1][1].get(output, {}) if self.rows else {}

    def most(self, output: str, fact: str, since_s: float, until_s: float) -> float:
        """The highest value of a fact in a time."""
        values = [
            row[output].get(fact) for at_s, row in tuple(self.rows) if since_s <= at_s < until_s and output in row
        ]
        return max((float(value) for value in values if value is not None), default=0.0)

    def per_s(self, output: str, since_s: float, until_s: float) -> float:
        """How many alerts a second it took in a time."""
        seen = [
            (at_s, row[output].get("taken", row[output].get("written", 0)))
            for at_s, row in tuple(self.rows)
            if since_s <= at_s < until_s and output in row
        ]
        if len(seen) < 2:  # noqa: PLR2004 - two make a difference
            return 0.0
        return round((seen[-1][1] - seen[0][1]) / max(0.001, seen[-1][0] - seen[0][0]), 1)

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(1.0):
            try:
                nodes = self._stand.nodes()
            except HidsError:  # the stand is being closed
                continue
            facts = {
                name: node["facts"] for name, node in nodes.items() if "lag" in node["facts"] or "pid" in node["facts"]
            }
            self.rows.append((time.monotonic(), facts))


def measure(stand: Stand, there: list[Destination], options: argparse.Namespace) -> dict[str, Any]:
    """Both parts; returns the figures."""
    log = stand.folder / "load.log"
    log.touch()
    stand.settings = "[workers]\ncount = 1\n" + "".join(each.settings for each in there)
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    samples, load = Samples(stand), Load(log, stand.paths.alerts / "alerts.json", options.rate, options.alerts)
    at_most = 2 * options.alerts + 2
    load.begin()
    began_s = _pass(options.calm)
    result: dict[str, Any] = {"seconds_away": options.minutes * 60, "outputs": {each.output: {} for each in there}}
    away_s = time.monotonic()
    for each in there:
        each.leave()
    _say(f"away: {', '.join(each.output for each in there)}")
    _pass(options.minutes * 60)
    back_s = time.monotonic()
    for each in there:
        result["outputs"][each.output]["waited"] = int(samples.last(each.output)["lag"])
        each.come_back()
    _say("back")
    for output, after_s in _caught_up(samples, there, back_s, at_most).items():
        result["outputs"][output]["caught_up_after_s"] = round(after_s, 1)
    all_s = time.monotonic()
    _say("caught up; now one after the other")
    others = _one_by_one(samples, there, options.each, at_most)
    alone_s = time.monotonic()
    _caught_up(samples, there, alone_s, at_most)
    load.end()
    result |= _counted(stand, there, result["outputs"])
    result["pipeline"] = {
        "before": load.delays_ms(began_s, away_s),
        "away": load.delays_ms(away_s, back_s),
        "catching_up": load.delays_ms(back_s, all_s),
        "one_by_one": load.delays_ms(all_s, alone_s),
    }
    result["files"] = {
        name: {
            "most_lag_before": samples.most(name, "lag", began_s, away_s),
            "most_lag_away": samples.most(name, "lag", away_s, back_s),
            "most_lag_catching_up": samples.most(name, "lag", back_s, all_s),
            "per_s_before": samples.per_s(name, began_s, away_s),
            "per_s_away": samples.per_s(name, away_s, back_s),
        }
        for name in FILES
    }
    for output, figures in others.items():
        result["outputs"][output] |= figures
    facts = samples.last("senders")
    result["senders"] = {
        "cpu_s": facts.get("cpu_s"),
        "most_mib": round(samples.most("senders", "rss_mib", began_s, alone_s)),
        "restarts": stand.nodes()["senders"]["restarts"],
    }
    result["lines"] = load.lines
    samples.close()
    return result


def _one_by_one(
    samples: Samples, there: list[Destination], each_s: float, at_most: float
) -> dict[str, dict[str, float]]:
    """Each is away for a while; how far the others lagged meanwhile, at the most, and what they took a second."""
    found: dict[str, dict[str, float]] = {}
    for away in there:
        names = [other.output for other in there if other is not away]
        since_s = time.monotonic()
        away.leave()
        _pass(each_s)
        until_s = time.monotonic()
        away.come_back()
        found[away.output] = {
            "others_most_lag": max(samples.most(name, "lag", since_s, until_s) for name in (*names, *FILES)),
            "others_least_per_s": min(samples.per_s(name, since_s, until_s) for name in (*names, *FILES)),
        }
        _caught_up(samples, [away], until_s, at_most)
    return found


def _caught_up(samples: Samples, there: list[Destination], since_s: float, at_most: float) -> dict[str, float]:
    """When each had no more waiting than what came just now, and nothing failing, in seconds from a moment on."""
    done: dict[str, float] = {}

    def all_are() -> bool:
        for each in there:
            at_s, facts = samples.rows[-1]
            of_it = facts.get(each.output, {})
            fresh = each.output not in done and at_s > since_s + 1 and not of_it.get("failing", "unknown")
            if fresh and of_it["lag"] <= at_most:
                done[each.output] = at_s - since_s
                _say(f"{each.output} has caught up after {at_s - since_s:.0f} s")
        return len(done) == len(there)

    wait_for(all_are, "every output has caught up", PATIENCE_S)
    return done


def _counted(stand: Stand, there: list[Destination], outputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Compare what each has with alerts.json."""
    wanted = {alert["id"] for alert in stand.alerts()}
    lost = again = 0
    for each in there:
        latest: Counter[str] = Counter()

        def complete(each: Destination = each) -> bool:
            nonlocal latest
            latest = each.ids()
            return wanted <= latest.keys()

        try:
            wait_for(complete, f"{each.output} has every alert", 10.0 if each.output == MAY_LOSE else 120.0)
        except AssertionError as error:
            _say(str(error))
        figures = outputs[each.output]
        figures["lost"] = len(wanted - latest.keys())
        if figures["lost"]:
            _say(f"{each.output} has not: {', '.join(sorted(wanted - latest.keys())[:10])}")
        figures["again"] = sum(n - 1 for name, n in latest.items() if name in wanted)
        again += figures["again"]
        lost += figures["lost"] if each.output != MAY_LOSE else 0
    return {"alerts": len(wanted), "lost": lost, "again": again}


def _pass(seconds: float) -> float:
    """Let time go by; returns when that began."""
    began = time.monotonic()
    threading.Event().wait(seconds)
    return began


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="all are away for so long (%(default)s)")
    parser.add_argument("--each", type=float, default=10.0, help="then each for so many seconds (%(default)s)")
    parser.add_argument("--calm", type=float, default=30.0, help="seconds before, for comparison (%(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="lines a second that alert nobody (%(default)s)")
    parser.add_argument("--alerts", type=float, default=20.0, help="alerts a second (%(default)s)")
    parser.add_argument("--only", action="append", help="only this destination, such as sql:postgres; several times")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM)
    )  # servers must not be left behind
    with tempfile.TemporaryDirectory(prefix="hids-outputs-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "there").mkdir()
        there = [
            each for each in destinations(folder / "there", stack) if not options.only or each.output in options.only
        ]
        stand = Stand(folder)
        try:
            result = measure(stand, there, options)
        finally:
            stand.close()
    _print(result)
    if options.json:
        print(json.dumps(result))
    return int(bool(result["lost"]))


def _print(result: dict[str, Any]) -> None:
    print(f"{result['alerts']} alerts of {result['lines']} lines; lost: {result['lost']}, again: {result['again']}")
    columns = ("waited", "caught_up_after_s", "lost", "again", "others_most_lag", "others_least_per_s")
    print(f"{'output':<24}" + "".join(f"{name:>20}" for name in columns))
    for output, figures in result["outputs"].items():
        print(f"{output:<24}" + "".join(f"{figures.get(name, ''):>20}" for name in columns))
    for part, figures in result["pipeline"].items():
        print(f"line to alert, {part}: {figures}")
    for name, figures in result["files"].items():
        print(f"{name}: {figures}")
    print(f"senders: {result['senders']}")


if __name__ == "__main__":
    sys.exit(main())
