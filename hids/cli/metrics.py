"""`hidsctl metrics`: the ledger and the tree as Prometheus text, for node_exporter's textfile collector or a script."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from hids.adapters.clock import SystemClock
from hids.adapters.proof import Proof
from hids.cli.settings import NO_MANAGER, Settings, fail
from hids.core.proof import counts_lines
from hids.errors import StoreError

DAY_MS = 86_400_000
GAPS = "Places where the ledger of the last day does not balance."


def metrics(
    ctx: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="The same as JSON: name, labels and value of each.")] = False,
) -> None:
    """Print figures of the running manager and its ledger in Prometheus' text format.

    \b
    Examples:
      hidsctl metrics > /var/lib/node_exporter/textfile/hids.prom.tmp
      hidsctl metrics --json | jq '.[] | select(.labels.outcome == "lost")'

    Exit status: 0 printed, 3 no manager answers or there is no ledger.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    tree = settings.ask("status")["tree"]
    try:
        proof = Proof(settings.paths.ledger)
        totals, gaps = proof.totals(), proof.account(SystemClock().now_ms() - DAY_MS).gaps()
    except StoreError as error:
        fail(str(error), NO_MANAGER)
    rows: list[Row] = [*_of_totals(totals), ("hids_ledger_gaps", GAPS, {}, len(gaps)), *_of_tree(tree)]
    settings.show(
        [{"name": name, "labels": labels, "value": value} for name, _, labels, value in rows],
        lambda _: typer.echo(text(rows), nl=False),
        json=json,
    )


Row = tuple[str, str, dict[str, str], float]
"""Name, help, labels, value. A name that ends in _total is a counter, others are gauges."""


def text(rows: list[Row]) -> str:
    """Prometheus' text format, version 0.0.4: rows of one name together, with their help once."""
    lines: list[str] = []
    for name in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == name]
        lines.append(f"# HELP {name} {mine[0][1]}")
        lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
        for _, _, labels, value in mine:
            inside = ",".join(f'{key}="{_escaped(shown)}"' for key, shown in labels.items())
            lines.append(f"{name}{{{inside}}} {value:g}" if isinstance(value, float) else f"{name}{{{inside}}} {value}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _of_totals(totals: dict[tuple[str, str], int]) -> Iterator[Row]:
    for (source, what), n in totals.items():
        if what == "alerts":
            yield "hids_alerts_total", "Alerts committed.", {"source": source}, n
        elif counts_lines(what):
            outcome, _, reason = what.partition(":")
            labels = {"source": source, "outcome": outcome, "reason": reason}
            yield "hids_lines_total", "Lines delivered, by what became of them; all outcomes add up.", labels, n


def _of_tree(node: dict[str, Any]) -> Iterator[Row]:
    if not node["name"].startswith("session-"):  # agents come and go: a series each would never end
        labels = {"actor": node["name"]}
        yield "hids_actor_running", "1 when the actor runs.", labels, int(node["state"] == "running")
        yield "hids_actor_handled_total", "Messages handled.", labels, node["handled"]
        yield "hids_actor_mailbox_depth", "Messages that wait.", labels, node["mailbox"]["depth"]
        yield "hids_actor_restarts_total", "Restarts since the manager started.", labels, node["restarts"]
        facts = node["facts"]
        if "rss_mib" in facts:
            yield "hids_process_resident_mib", "Resident memory.", labels, facts["rss_mib"]
            yield "hids_process_cpu_seconds_total", "CPU time.", labels, facts["cpu_s"]
        if "lag" in facts:
            yield "hids_output_lag_alerts", "Alerts that an output has not yet.", labels, facts["lag"]
        if "dead_letters" in facts:
            yield "hids_output_sent_total", "Alerts that an output took since its start.", labels, facts["sent"]
            yield (
                "hids_output_dead_letters_total",
                "Alerts that an output will never take.",
                labels,
                facts["dead_letters"],
            )
            yield (
                "hids_output_failing",
                "1 while an output fails and is tried again.",
                labels,
                int(bool(facts["failing"])),
            )
    for child in node["children"]:
        yield from _of_tree(child)
