"""`hidsctl metrics`: the ledger and the tree as Prometheus text, for node_exporter's textfile collector or a script."""

from typing import Annotated

import typer

from hids.adapters.clock import SystemClock
from hids.adapters.proof import Proof
from hids.cli.settings import NO_MANAGER, Settings, fail
from hids.core.exposition import Row, of_ledger, of_status, text
from hids.errors import StoreError

DAY_MS = 86_400_000


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

    The section metrics of manager.toml serves the same over HTTP.
    Exit status: 0 printed, 3 no manager answers or there is no ledger.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    status = settings.ask("status")
    try:
        proof = Proof(settings.paths.ledger)
        totals, gaps = proof.totals(), proof.account(SystemClock().now_ms() - DAY_MS).gaps()
    except StoreError as error:
        fail(str(error), NO_MANAGER)
    rows: list[Row] = [*of_ledger(totals, len(gaps)), *of_status(status)]
    settings.show(
        [{"name": name, "labels": labels, "value": value} for name, _, labels, value in rows],
        lambda _: typer.echo(text(rows), nl=False),
        json=json,
    )
