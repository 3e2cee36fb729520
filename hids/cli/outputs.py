"""`hidsctl outputs`: where alerts go, how far each is, a test of one, and what one will never take."""

import asyncio
import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hids.adapters.clock import SystemClock
from hids.adapters.ossec_outputs import ossec_outputs
from hids.adapters.outputs.kinds import Site, check_library, destination_of
from hids.adapters.outputs.store import DeadLetters
from hids.adapters.paths import host_name
from hids.cli.settings import REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.core.delivery import Delivery, Refused, Timed
from hids.core.outputs import AnyOutput
from hids.errors import ConfigError, HidsError
from hids.manager.config import read_config

app = typer.Typer(no_args_is_help=True, help="Where alerts go: files, mail, syslog, webhooks, and so on.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
KINDS = ("alert writer", "sender")
"""Actors that are an output."""


@app.command("list")
def list_outputs(ctx: typer.Context, *, json: Json = False) -> None:
    """List the outputs of the running manager: how far each is, how fast, and what fails.

    \b
    Examples:
      hidsctl outputs list
      hidsctl outputs list --json | jq '.[] | select(.failing != "")'

    Exit status: 0 listed, 3 no manager answers.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    settings.show(list(_outputs(settings.ask("status")["tree"])), _print_outputs, json=json)


@app.command("test")
def try_one(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The output's name, or type:name.", metavar="NAME")],
    *,
    config: Annotated[Path | None, typer.Option(help="The manager.toml, when it is in an unusual place.")] = None,
    json: Json = False,
) -> None:
    """Send one test alert to an output of manager.toml, past its filters, and say what came of it.

    It needs no running manager. Run it as the manager's user, who may read the files with secrets.

    \b
    Examples:
      hidsctl outputs test email
      hidsctl outputs test syslog:siem --config /etc/hids/manager.toml --json

    Exit status: 0 the other side took it, 1 it did not, or there is no such output.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    output = _configured(config or settings.paths.config, name)
    try:
        asyncio.run(_send(output))
    except Refused as refused:
        fail(f"{output.output} did not take it: {refused}", REFUSED)
    except HidsError as error:
        fail(str(error), REFUSED)
    answer = {"output": output.output, "taken": True}
    settings.show(answer, lambda _: typer.echo(f"{output.output} has taken the test alert"), json=json)


@app.command("dead-letters")
def dead_letters(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="An output, as type:name; all when left out.", metavar="[NAME]")] = "",
    *,
    json: Json = False,
) -> None:
    """List the alerts that an output will never take, each with the reason. They are in alerts.json all the same.

    \b
    Examples:
      hidsctl outputs dead-letters
      hidsctl outputs dead-letters email:soc --json | jq .alert.id

    Exit status: 0 listed, 1 no output of that name has any.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    letters = DeadLetters.of_all(settings.paths.lib, SystemClock())
    if name and name not in letters:
        fail(f"no dead letters of an output {name!r}", REFUSED)
    rows = [
        {
            "output": output,
            "at_ms": letter.at_ms,
            "reason": letter.reason,
            "alert": {"id": "?"} | _members(letter.alert),
        }
        for output, kept in letters.items()
        if name in ("", output)
        for letter in kept.read()
    ]
    settings.show(rows, _print_letters, json=json)


@app.command("import")
def import_outputs(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="An ossec.conf of OSSEC or Wazuh.", metavar="FILE")],
    *,
    json: Json = False,
) -> None:
    """Print the output tables for manager.toml that do what an ossec.conf says of mail, syslog and a database, with notes on what differs.

    Nothing is changed: look it through, and put it at the end of manager.toml. Passwords are not printed. An output whose library
    is not installed here comes as a comment.

    \b
    Examples:
      hidsctl outputs import /var/ossec/etc/ossec.conf
      hidsctl outputs import ossec.conf --json | jq -r .notes[]

    Exit status: 0 printed, 1 it cannot be read as an ossec.conf.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        found = ossec_outputs(str(file), file.read_bytes())
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}", REFUSED)
    except HidsError as error:
        fail(str(error), REFUSED)
    answer = {"outputs": found.tables, "waiting": sorted(found.waiting), "notes": found.notes}
    settings.show(answer, lambda _: typer.echo(found.toml(), nl=False), json=json)


def _configured(path: Path, name: str) -> AnyOutput:
    try:
        outputs = read_config(path).output
        output = next((output for output in outputs if name in (output.name, output.output)), None)
        if output is None:
            raise ConfigError(f"{path}: there is no [[output]] of the name {name!r}")
        check_library(output)
    except HidsError as error:
        fail(str(error), REFUSED)
    return output


def _outputs(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node["kind"] in KINDS:
        facts = node["facts"]
        yield {
            "output": node["name"],
            "number": facts.get("taken", facts.get("written", 0)),
            "lag": facts.get("lag", 0),
            "sent": facts.get("sent"),
            "per_s": facts.get("per_s"),
            "dead_letters": facts.get("dead_letters", 0),
            "failing": facts.get("failing", ""),
        }
    for child in node["children"]:
        yield from _outputs(child)


def _members(alert: bytes) -> dict[str, Any]:
    """What was set aside may be no alert: that may be why."""
    try:
        return msgspec.json.decode(alert, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


async def _send(output: AnyOutput) -> None:
    """One test alert, with a queue that is thrown away."""
    clock = SystemClock()
    reasons: list[str] = []

    def set_aside(_alert: bytes, reason: str) -> None:
        reasons.append(reason)

    with tempfile.TemporaryDirectory(prefix="hids-test-") as folder:
        destination = destination_of(output, Site(Path(folder), clock, set_aside))
        try:
            await destination.post(Delivery(1, 1, (_alert(output.output, clock.now_ms()),)))
            if isinstance(destination, Timed):
                await destination.flush(everything=True)
        finally:
            await destination.close()
    if reasons:
        raise Refused(reasons[0])


def _alert(output: str, now_ms: int) -> bytes:
    at = datetime.datetime.fromtimestamp(now_ms / 1000).astimezone()
    name = host_name()
    return msgspec.json.encode(
        {
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}{at:%z}",
            "rule": {
                "level": 15,
                "description": f"A test of the output {output}: nothing has happened.",
                "id": "0",
                "mail": True,
                "groups": ["hids", "test"],
            },
            "id": f"000.test-{now_ms}",
            "agent": {"id": "000", "name": name, "ip": ""},
            "manager": {"name": name},
            "full_log": "hidsctl outputs test",
            "decoder": {},
            "location": "hidsctl",
            "hids": {"number": 1, "source": "test", "epoch": 0, "seq": 0, "ruleset": "", "at_ms": now_ms},
        }
    )


def _print_outputs(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("output", "number", "lag", "sent", "per s", "dead letters", "failing"):
        table.add_column(heading, justify="left" if heading in ("output", "failing") else "right")
    for row in rows:
        shown = (
            "" if row[key] is None else str(row[key]) for key in ("number", "lag", "sent", "per_s", "dead_letters")
        )
        table.add_row(row["output"], *shown, Text(plain(row["failing"])))
    Console().print(table)


def _print_letters(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("there are no dead letters")
    for row in rows:
        at = datetime.datetime.fromtimestamp(row["at_ms"] / 1000).astimezone()
        typer.echo(plain(f"{at:%Y-%m-%d %H:%M:%S} {row['output']} alert {row['alert']['id']}: {row['reason']}"))
