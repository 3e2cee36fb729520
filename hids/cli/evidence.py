"""`hidsctl evidence`: prove that what was written is what is there, or name the first record that was altered."""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hids.adapters.clock import SystemClock
from hids.adapters.event_archive import verify_archive
from hids.adapters.evidence.anchors import Anchoring, FileAnchor, export
from hids.adapters.evidence.key import fingerprint, public_key
from hids.adapters.evidence.verify import Verdict
from hids.adapters.evidence.verify import verify as verify_all
from hids.cli.settings import NO_MANAGER, REFUSED, Settings, fail
from hids.cli.times import moment
from hids.core.alert.text import plain
from hids.errors import StoreError
from hids.workers.outputs import ALERT_OUTPUTS

app = typer.Typer(no_args_is_help=True, help="Seals over alert files: check them, carry copies away.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
MIB = 1024 * 1024


@app.command()
def verify(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None, typer.Option(help="From the day of this time on: 3d, or 2026-11-24. Default: all that is kept.")
    ] = None,
    anchor: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Compare with this copy from elsewhere, too; may be given several times."),
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="sha256:...", help="The key that you noted down; `hidsctl evidence key` tells it.")
    ] = "",
    json: Json = False,
) -> None:
    """Check every record of the alert files against its seal, the seals against signatures, and all against anchors.

    \b
    Examples:
      hidsctl evidence verify
      hidsctl evidence verify --since 7d --anchor /mnt/vault/hids.anchor
      hidsctl evidence verify --json | jq '.problems[0]'

    Who owns this machine can alter a record, seal anew and sign anew: that shows only against an anchor. It needs no
    running manager. Exit status: 0 all is as it was written, 1 something is not, 3 there is nothing to check.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    since_ms = moment(since, "--since", SystemClock().now_ms())
    first = datetime.fromtimestamp(since_ms / 1000).date() if since_ms is not None else None  # noqa: DTZ006 - local days
    began = time.monotonic()
    try:
        public = _public(settings)
        verdict = verify_all(settings.paths.evidence, _streams(settings), public, since=first, anchors=anchor or ())
        archived = verify_archive(settings.paths.archive, settings.paths.evidence, public, first, anchor or ())
    except StoreError as error:
        fail(str(error), NO_MANAGER)
    answer = _answer(verdict, archived, public, time.monotonic() - began)
    if key and key != answer["key"]:
        answer["problems"].insert(0, {"stream": "", "file": "", "what": f"signed by {answer['key']}, not by {key}"})
    settings.show(answer, _print, json=json)
    if answer["problems"]:
        raise typer.Exit(REFUSED)


@app.command()
def anchor(
    ctx: typer.Context,
    to: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; what it has already is not written again.")],
) -> None:
    """Bring what is new of seals and signed heads to a file elsewhere, now.

    \b
    Example:
      hidsctl evidence anchor /mnt/vault/hids.anchor

    The manager does it by itself each minute for the file that anchor_file of manager.toml names.
    Exit status: 0 done, 3 there is nothing to read, or the file cannot be written.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        cursor = to.with_name(f".{to.name}.cursor")
        Anchoring(FileAnchor(to), settings.paths.evidence, _streams(settings), cursor).run()
    except StoreError as error:
        fail(str(error), NO_MANAGER)


@app.command("export")
def export_(ctx: typer.Context) -> None:
    """Print all seals and signed heads, to keep them where nobody here can change them.

    \b
    Example:
      hidsctl evidence export | ssh vault 'cat > hids-2026-11-24.anchor'

    Exit status: 0 printed, 3 there is nothing to read.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        _public(settings)
        for line in export(settings.paths.evidence, _streams(settings)):
            sys.stdout.buffer.write(line)
    except StoreError as error:
        fail(str(error), NO_MANAGER)


@app.command("key")
def key_(ctx: typer.Context, *, json: Json = False) -> None:
    """Tell the key that signs, to be noted down elsewhere.

    \b
    Example:
      hidsctl evidence key
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    try:
        public = _public(settings)
    except StoreError as error:
        fail(str(error), NO_MANAGER)
    answer = {"key": fingerprint(public), "public": public}
    settings.show(answer, lambda answer: typer.echo(answer["key"]), json=json)


def _streams(settings: Settings) -> list[Path]:
    return [settings.paths.alerts / name for name in ALERT_OUTPUTS]


def _public(settings: Settings) -> str:
    public = public_key(settings.paths.evidence)
    if public is None:
        raise StoreError(f"{settings.paths.evidence}: there is no key: no manager has run here yet")
    return public


def _answer(verdict: Verdict, archived: Verdict, public: str, seconds: float) -> dict[str, Any]:
    problems = verdict.problems + archived.problems
    return {
        "as_written": not problems,
        "key": fingerprint(public),
        "files": verdict.files + archived.files,
        "records": verdict.records + archived.records,
        "bytes": verdict.bytes + archived.bytes,
        "seals": verdict.seals + archived.seals,
        "heads": verdict.heads + archived.heads,
        "anchored": verdict.anchored + archived.anchored,
        "seconds": round(seconds, 2),
        "problems": [
            {
                "stream": problem.stream,
                "file": problem.file,
                "line": problem.line,
                "alert": problem.alert,
                "seal": problem.seal,
                "what": problem.what,
                "text": str(problem),
            }
            for problem in problems
        ],
    }


def _print(answer: dict[str, Any]) -> None:
    for problem in answer["problems"]:
        typer.echo(plain(problem.get("text") or problem["what"]))
    rate = answer["bytes"] / MIB / max(answer["seconds"], 0.01)
    done = (
        f"{answer['records']} records in {answer['files']} files, {answer['bytes'] / MIB:.1f} MiB in "
        f"{answer['seconds']:.1f} s ({rate:.0f} MiB/s), {answer['heads']} signatures, {answer['anchored']} lines of anchors"
    )
    if answer["problems"]:
        typer.echo(f"{len(answer['problems'])} problems; {done}", err=True)
    else:
        typer.echo(f"as it was written: {done}")
