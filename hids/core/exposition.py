"""Exposition: figures of the manager, and Prometheus' text format of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from hids.core.proof import counts_lines

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Row = tuple[str, str, dict[str, str], float]
"""Name, help, labels, value. A name that ends in _total is a counter, others are gauges."""

GAPS = "Places where the ledger of the last day does not balance."

_APART = {"pid", "cpu_percent", "cpu_s", "rss_mib", "lag"}
"""Facts with a name of their own, or none."""


class Metric(NamedTuple):
    """All rows of one name."""

    name: str
    help: str
    points: dict[tuple[tuple[str, str], ...], float]
    """Value by labels, as pairs in order."""

    @property
    def counts(self) -> bool:
        """Whether it only rises, but for restarts."""
        return self.name.endswith("_total")


def metrics_of(rows: Iterable[Row]) -> list[Metric]:
    """Rows of one name together, in the order of the first of each. Labels that are told twice have their last value."""
    found: dict[str, Metric] = {}
    for name, words, labels, value in rows:
        found.setdefault(name, Metric(name, words, {})).points[tuple(labels.items())] = value
    return list(found.values())


def text(rows: Iterable[Row]) -> str:
    """Prometheus' text format, version 0.0.4. A series that is told twice would make it refuse all."""
    lines: list[str] = []
    for metric in metrics_of(rows):
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {'counter' if metric.counts else 'gauge'}")
        for labels, value in metric.points.items():
            inside = ",".join(f'{key}="{_escaped(shown)}"' for key, shown in labels)
            number = f"{value:.12g}" if isinstance(value, float) else str(int(value))
            lines.append(f"{metric.name}{{{inside}}} {number}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def of_ledger(totals: Mapping[tuple[str, str], int], gaps: int) -> Iterator[Row]:
    """What became of every line."""
    for (source, what), n in totals.items():
        if what == "alerts":
            yield "hids_alerts_total", "Alerts committed.", {"source": source}, n
        elif counts_lines(what):
            outcome, _, reason = what.partition(":")
            labels = {"source": source, "outcome": outcome, "reason": reason}
            yield "hids_lines_total", "Lines delivered, by what became of them; all outcomes add up.", labels, n
    yield "hids_ledger_gaps", GAPS, {}, gaps


def of_rules(ruleset: str, fired: Mapping[int, int], sampled: int) -> Iterator[Row]:
    """How often rules fired; those that never did have no row."""
    yield "hids_lines_sampled_total", "Lines that were looked at to measure rules.", {"ruleset": ruleset}, sampled
    for rule, n in fired.items():
        if n:
            yield "hids_rule_fired_total", "Events that a rule took.", {"ruleset": ruleset, "rule": str(rule)}, n


def of_status(status: Mapping[str, Any]) -> Iterator[Row]:
    """The manager, and the tree of its actors."""
    yield "hids_info", "1; the label says which version runs.", {"version": str(status["version"])}, 1
    yield "hids_uptime_seconds", "Since the manager started.", {}, float(status["uptime_s"])
    yield "hids_agents_connected", "Agents that have a session now.", {}, int(status["agents_connected"])
    yield from of_tree(status["tree"])


def of_tree(node: Mapping[str, Any], above: str = "") -> Iterator[Row]:
    """An actor and those below it; `above` is named where there are several alike."""
    if not node["name"].startswith("session-"):  # agents come and go: a series each would never end
        labels = {"actor": f"{above}/{node['name']}" if above.startswith("worker-") else node["name"]}
        yield "hids_actor_running", "1 when the actor runs.", labels, int(node["state"] == "running")
        yield "hids_actor_handled_total", "Messages handled.", labels, node["handled"]
        yield "hids_actor_mailbox_depth", "Messages that wait.", labels, node["mailbox"]["depth"]
        yield "hids_actor_restarts_total", "Restarts since the manager started.", labels, node["restarts"]
        yield from _of_facts(labels, node["facts"])
    for child in node["children"]:
        yield from of_tree(child, node["name"])


def _of_facts(labels: dict[str, str], facts: Mapping[str, Any]) -> Iterator[Row]:
    if "rss_mib" in facts:
        yield "hids_process_resident_mib", "Resident memory.", labels, facts["rss_mib"]
        yield "hids_process_cpu_seconds_total", "CPU time.", labels, facts["cpu_s"]
    if "lag" in facts:
        yield "hids_output_lag_alerts", "Alerts that an output has not yet.", labels, facts["lag"]
    if "failing" in facts:
        yield "hids_output_failing", "1 while what an actor writes to fails.", labels, int(bool(facts["failing"]))
    for name, value in facts.items():
        if name not in _APART and isinstance(value, int | float):
            yield "hids_actor_fact", "Other figures, as `hidsctl status` shows them.", labels | {"fact": name}, value
