"""`hidsctl rules`: the rules in use."""

from typing import Annotated, Any

import typer

from hids.cli.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The rules in use.")


@app.callback()
def _group() -> None:
    """The rules in use."""


@app.command()
def reload(
    ctx: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Read manager.toml and its rulesets anew, beside those in use; a bad ruleset changes nothing.

    Exit status: 0 the new rules are in use, 1 they are refused (all problems are listed), 3 no manager answers.
    """
    settings: Settings = ctx.obj
    settings.show(settings.ask("reload"), _print, json=json)


def _print(answer: dict[str, Any]) -> None:
    for ruleset in answer["rulesets"]:
        typer.echo(
            f"in use: {ruleset['name']}, {ruleset['decoders']} decoders, {ruleset['rules']} rules ({ruleset['hash']})"
        )
