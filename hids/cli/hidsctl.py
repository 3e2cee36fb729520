"""`hidsctl`: look at the manager, its agents and its alerts, and steer them."""

from pathlib import Path
from typing import Annotated

import typer

import hids
from hids.adapters import logs
from hids.adapters.paths import ManagerPaths
from hids.cli import (
    agents,
    alerts,
    archive,
    config,
    evidence,
    incidents,
    ledger,
    legacy,
    maintenance,
    outputs,
    policy,
    quarantine,
    report,
    response,
    rootcheck,
    rules,
    stats,
    syscheck,
)
from hids.cli.chaos import chaos
from hids.cli.compliance import compliance
from hids.cli.logtest import logtest
from hids.cli.metrics import metrics
from hids.cli.migrate import migrate
from hids.cli.settings import Settings
from hids.cli.status import status

app = typer.Typer(
    name="hidsctl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(status)
app.command()(logtest)
app.command()(metrics)
app.command()(migrate)
app.command()(chaos)
agents.app.command("import-keys")(legacy.import_keys)
alerts.app.command()(compliance)
app.add_typer(alerts.app, name="alerts")
app.add_typer(agents.app, name="agent")
app.add_typer(incidents.app, name="incidents")
app.add_typer(legacy.app, name="legacy")
app.add_typer(outputs.app, name="outputs")
app.add_typer(response.app, name="response")
app.add_typer(rules.app, name="rules")
app.add_typer(config.app, name="config")
app.add_typer(ledger.app, name="ledger")
app.add_typer(policy.app, name="policy")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(syscheck.app, name="syscheck")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(rootcheck.app, name="rootcheck")
app.add_typer(evidence.app, name="evidence")
app.add_typer(archive.app, name="archive")
app.add_typer(report.app, name="report")
app.add_typer(stats.app, name="stats")


@app.callback()
def _settings(
    ctx: typer.Context,
    *,
    state: Annotated[
        Path | None, typer.Option("--state", help="The manager's folder, if it runs with --state.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Look at a hids manager, its agents and its alerts, and steer them.

    \b
    Examples:
      hidsctl status
      hidsctl alerts -f --level 7
      hidsctl agent token
      hidsctl --state /srv/hids --json agent list

    Exit status: 0 done, 1 refused or nothing found, 2 wrong usage, 3 no manager answers.
    """  # noqa: D301 - click's mark for lines that stay as they are
    ctx.obj = Settings(ManagerPaths.of(state), json=json)


@app.command("version")
def version(
    ctx: typer.Context, *, json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False
) -> None:
    """Print the version."""
    settings: Settings = ctx.obj
    answer = {"version": hids.__version__}
    settings.show(answer, lambda _: typer.echo(f"hids {hids.__version__}"), json=json)


def main() -> None:
    """Entry point."""
    logs.configure()  # to stderr: stdout is for answers
    app()


if __name__ == "__main__":
    main()
