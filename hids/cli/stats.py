"""`hidsctl stats`: how many lines each hour usually brings."""

from typing import Annotated, Any

import typer

from hids.cli.settings import REFUSED, Settings

app = typer.Typer(no_args_is_help=True, help="What is learned about the number of lines in an hour.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@app.command()
def show(ctx: typer.Context, *, json: Json = False) -> None:
    """Show the averages of each hour of the day; far more lines than that are an alert (rule 206148).

    \b
    Example:
      hidsctl stats show --json | jq .by_hour

    Exit status: 0 shown, 1 refused, 3 no manager answers.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    settings.show(settings.ask("stats"), _print, json=json)


@app.command()
def clear(
    ctx: typer.Context,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Forget what was learned, as OSSEC's clear_stats does: after a change of what is watched, say.

    \b
    Example:
      hidsctl stats clear --yes

    Exit status: 0 done, 1 not done, 3 no manager answers.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    if not yes and not typer.confirm("Forget all averages?"):
        raise typer.Exit(REFUSED)
    settings.show(settings.ask("clear_stats"), lambda _: typer.echo("cleared"), json=json)


def _print(answer: dict[str, Any]) -> None:
    typer.echo(f"this hour: {answer['lines']} lines")
    for hour, average in sorted(answer["by_hour"].items(), key=lambda item: int(item[0])):
        typer.echo(f"{int(hour):02d}:00  {average['lines']:12.0f} lines, average of {average['hours']} hours")
