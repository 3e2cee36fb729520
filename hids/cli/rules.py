"""`hidsctl rules`: the rules in use, and what can be said of rules before they are."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from hids.adapters.rulestats import RulesetStats, read_stats
from hids.cli.rulesets import (
    USAGE,
    CompatOption,
    ConfigOption,
    DialectOption,
    FolderArgument,
    folders,
)
from hids.cli.settings import REFUSED, Settings, fail
from hids.core.alert.text import plain
from hids.core.dialect import Dialect
from hids.core.dialect import dialect as known_dialect
from hids.core.pattern.emptiness import can_match
from hids.core.pattern.explain import explain, tried
from hids.core.pattern.pattern import Language, Pattern
from hids.core.rules.certificate import Certificate, Entry, certify
from hids.core.rules.elements import Form, language
from hids.core.rules.lint import Finding, lint
from hids.core.rules.plan import compile_plan
from hids.core.rules.profile import Figure
from hids.core.rules.rule import Ruleset
from hids.errors import ConfigError, RulesetError, StoreError
from hids.manager.trials import Failure, Trials, read_trials
from hids.workers.nursery import Folder, load_folder

app = typer.Typer(no_args_is_help=True, help="The rules in use, and rules before they are.")

JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Made = TypeVar("Made")


@app.callback()
def _group() -> None:
    """The rules in use, and rules before they are."""


@app.command()
def reload(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Read manager.toml and its rulesets anew, beside those in use; a bad ruleset changes nothing.

    Exit status: 0 the new rules are in use, 1 they are refused (all problems are listed), 3 no manager answers.
    """
    settings: Settings = ctx.obj
    settings.show(settings.ask("reload"), _print_reload, json=json)


def _print_reload(answer: dict[str, Any]) -> None:
    for ruleset in answer["rulesets"]:
        typer.echo(
            f"in use: {ruleset['name']}, {ruleset['decoders']} decoders, {ruleset['rules']} rules ({ruleset['hash']})"
        )


# ---- check ------------------------------------------------------------------------------------------------------


@app.command()
def check(
    ctx: typer.Context,
    folder: FolderArgument = None,
    *,
    dialect: DialectOption = "hids",
    config: ConfigOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="What Wazuh leaves out with a warning is an error.")] = False,
    json: JsonOption = False,
) -> None:
    """Load rules as the manager would, and list all that is wrong with them.

    \b
    Examples:
      hidsctl rules check                           the rules of manager.toml
      hidsctl rules check ./rules --strict
      hidsctl rules check /var/ossec --dialect ossec

    Exit status: 0 they can be used, 1 they are refused, 2 wrong usage.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    answers = [_checked(one, strict=strict) for one in _usable(lambda: folders(settings, folder, dialect, config))]
    settings.show(answers, _print_check, json=json)
    if any(answer["problems"] for answer in answers):
        raise typer.Exit(REFUSED)


def _checked(folder: Folder, *, strict: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"ruleset": folder.name, "path": folder.path, "decoders": 0, "rules": 0}
    problems: Sequence[object] = ()
    refused: list[str] = []
    try:
        ruleset = load_folder(folder, strict=strict)
        answer["decoders"], answer["rules"] = ruleset.decoders.count, len(ruleset.rules)
        refused = [f"{r.file}:{r.line}: {r.kind} {r.id} is left out: {r.reason}" for r in ruleset.refused]
    except RulesetError as error:
        problems = error.problems
    except ConfigError as error:
        problems = (error,)
    return answer | {"problems": [str(problem) for problem in problems], "refused": refused}


def _print_check(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        for problem in answer["problems"]:
            typer.echo(plain(problem), err=True)
        for warning in answer["refused"]:
            typer.echo(f"warning: {plain(warning)}", err=True)
        count = len(answer["problems"])
        verdict = f"refused, {count} problem{'s' if count != 1 else ''}" if count else "can be used"
        typer.echo(f"{plain(answer['ruleset'])}: {answer['decoders']} decoders, {answer['rules']} rules: {verdict}")


# ---- certificate ------------------------------------------------------------------------------------------------


@app.command()
def certificate(
    ctx: typer.Context,
    folder: FolderArgument = None,
    *,
    dialect: DialectOption = "hids",
    config: ConfigOption = None,
    compat: CompatOption = False,
    all_: Annotated[bool, typer.Option("--all", help="List what is exact, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Say of each rule and decoder whether it answers as in the engine it was written for.

    exact: for every event. equivalent: but for a reason from a closed list, with an input where the answers differ.
    refused: left out, and why.

    \b
    Example:
      hidsctl rules certificate /var/ossec/ruleset --dialect wazuh

    Exit status: 0 nothing is refused, 1 something is, 2 wrong usage.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    found = _usable(lambda: folders(settings, folder, dialect, config, compat=compat))
    certificates = _usable(lambda: [certify(load_folder(one)) for one in found])
    settings.show(
        [_certificate_json(one) for one in certificates],
        lambda _answer: _print_certificates(certificates, everything=all_),
        json=json,
    )
    if any(one.count("refused") for one in certificates):
        raise typer.Exit(REFUSED)


def _certificate_json(one: Certificate) -> dict[str, Any]:
    counts = {verdict: one.count(verdict) for verdict in ("exact", "equivalent", "refused")}
    plain_form: dict[str, Any] = msgspec.to_builtins(one)
    return {"counts": counts} | plain_form


def _print_certificates(certificates: Iterable[Certificate], *, everything: bool) -> None:
    for one in certificates:
        typer.echo(f"ruleset {plain(one.ruleset)}, dialect {one.dialect}, {one.correlation} correlation, {one.hash}")
        for deviation in one.general:
            typer.echo(f"  in general: {deviation}")
        for entry in one.entries:
            if everything or entry.verdict != "exact":
                _print_entry(entry)
        counts = ", ".join(f"{one.count(verdict)} {verdict}" for verdict in ("exact", "equivalent", "refused"))
        typer.echo(f"{plain(one.ruleset)}: {counts}")


def _print_entry(entry: Entry) -> None:
    typer.echo(f"  {entry.kind:7} {plain(entry.id):28} {entry.verdict:10} {plain(entry.why)}".rstrip())
    for difference in entry.differences:
        typer.echo(f"{'':12}{difference.reason}: {plain(difference.input)}")


# ---- lint -------------------------------------------------------------------------------------------------------


@app.command("lint")
def lint_rules(
    ctx: typer.Context,
    folder: FolderArgument = None,
    *,
    dialect: DialectOption = "hids",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Point at what is odd: rules that no event reaches, shadowed and duplicate ones, patterns that never match.

    Exit status: 0 nothing found, 1 something found, 2 the rules are refused.
    """
    settings: Settings = ctx.obj
    found = [
        (ruleset.name, lint(ruleset, can_match))
        for ruleset in _usable(lambda: [load_folder(one) for one in folders(settings, folder, dialect, config)])
    ]
    answer = [{"ruleset": name} | msgspec.to_builtins(finding) for name, findings in found for finding in findings]
    settings.show(answer, lambda _answer: _print_lint(found), json=json)
    if answer:
        raise typer.Exit(REFUSED)


def _print_lint(found: Sequence[tuple[str, Sequence[Finding]]]) -> None:
    for name, findings in found:
        for finding in findings:
            typer.echo(plain(str(finding)))
        kinds = Counter(finding.kind for finding in findings)
        shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "nothing odd"
        typer.echo(f"{plain(name)}: {shown}")


# ---- regex ------------------------------------------------------------------------------------------------------


@app.command()
def regex(
    ctx: typer.Context,
    pattern: str,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to try it on.")] = None,
    *,
    dialect: DialectOption = "hids",
    kind: Annotated[str, typer.Option(help='"match", "regex" or "pcre2"; our own dialect knows pcre2 only.')] = "",
    json: JsonOption = False,
) -> None:
    """Explain a pattern: what it is rewritten to, which engine runs it, what it makes of texts.

    \b
    Examples:
      hidsctl rules regex --dialect ossec '^Failed \\S+ for (\\w+)' 'Failed password for root'
      hidsctl rules regex --dialect wazuh --kind match '!^ok|done$' 'ok'

    Exit status: 0 all texts match, 1 one does not, 2 the pattern cannot be used.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    made = _usable(lambda: Pattern(_language(known_dialect(dialect), kind), pattern.encode("utf-8", "surrogateescape")))
    answer = explain(made) | {"texts": [tried(made, text.encode("utf-8", "surrogateescape")) for text in texts or ()]}
    settings.show(answer, _print_regex, json=json)
    if not all(text["matches"] for text in answer["texts"]):
        raise typer.Exit(REFUSED)


_FORMS: dict[str, Form] = {"match": "osmatch", "regex": "osregex", "pcre2": "pcre2"}


def _language(dialect: Dialect, kind: str) -> Language:
    if not kind:
        kind = "pcre2" if dialect == "hids" else "regex"
    form = _FORMS.get(kind)
    if form is None or (dialect == "hids" and form != "pcre2"):
        raise ConfigError(
            f"dialect {dialect} has no kind {kind!r}; use {'pcre2' if dialect == 'hids' else ', '.join(_FORMS)}"
        )
    return language(form, dialect)


def _print_regex(answer: dict[str, Any]) -> None:
    typer.echo(f"{answer['language']}  {plain(answer['pattern'])}")
    if answer["rewritten"] is not None:
        typer.echo(f"rewritten  {plain(answer['rewritten'])}")
    typer.echo(f"run by     {answer['engine']}")
    if answer["scan"] is None:
        typer.echo("in a set   cannot be scanned for; each line is asked")
    else:
        kind = "the set's answer is final" if answer["scan_is_exact"] else "the set can only say no"
        typer.echo(f"in a set   {plain(answer['scan'])}  ({kind})")
    for text in answer["texts"]:
        typer.echo(f"{'match   ' if text['matches'] else 'no match'}  {plain(text['text'])}")
        for number, value in enumerate(text["captures"], 1):
            typer.echo(f"  {number}: {'-' if value is None else plain(value)}")
        if text["end"] is not None:
            typer.echo(f"  goes on at {text['end']}")


# ---- test -------------------------------------------------------------------------------------------------------


@app.command("test")
def test_rules(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".toml or .ini files with tests.")],
    *,
    ruleset: Annotated[
        Path | None,
        typer.Option("--ruleset", help="Folder of rules; default: those of the manager's configuration."),
    ] = None,
    dialect: DialectOption = "hids",
    config: ConfigOption = None,
    compat: CompatOption = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="List the rules that no test reaches.")] = False,
    json: JsonOption = False,
) -> None:
    """Run tests of rules: our TOML form, and the .ini files of OSSEC and Wazuh as they are.

    \b
    Examples:
      hidsctl rules test tests/*.toml --coverage
      hidsctl rules test --ruleset /var/ossec --dialect ossec --compat sshd.ini

    Exit status: 0 all go as written, 1 some do not, 2 wrong usage or refused rules.
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings: Settings = ctx.obj
    found = _usable(lambda: folders(settings, ruleset, dialect, config, compat=compat))
    if len(found) != 1:
        fail(f"tests are for one ruleset, {len(found)} are configured; name a folder with --ruleset", USAGE)
    rules = _usable(lambda: load_folder(found[0]))
    trials = Trials(compile_plan(rules), "localhost")
    count = 0
    failures: list[Failure] = []
    for path in files:
        for trial in _usable(partial(read_trials, path, rules.dialect)):
            count += 1
            if (wrong := trials.run(trial)) is not None:
                failures.append(Failure(str(path), trial.name, wrong))
    if not count:
        fail(
            "there is no test in these files; expected [[case]] or [[sequence]], in .ini files log N pass or fail",
            USAGE,
        )
    answer = {
        "tests": count,
        "failures": [msgspec.to_builtins(failure) for failure in failures],
        "coverage": _coverage(rules, trials.reached) if coverage else None,
    }
    settings.show(answer, lambda told: _print_test(told, failures), json=json)
    if failures:
        raise typer.Exit(REFUSED)


def _coverage(rules: Ruleset, reached: set[int]) -> dict[str, Any]:
    """Rules that could be an event's, and those of them that no test line gave."""
    able = [rule for rule in rules.rules if not rule.noalert]
    return {
        "rules": len(able),
        "reached": sum(rule.id in reached for rule in able),
        "missed": [{"id": rule.id, "description": rule.description} for rule in able if rule.id not in reached],
    }


def _print_test(told: dict[str, Any], failures: Sequence[Failure]) -> None:
    for failure in failures:
        typer.echo(plain(str(failure)))
    if (covered := told["coverage"]) is not None:
        for rule in covered["missed"]:
            typer.echo(f"not reached: {rule['id']} {plain(rule['description'])}")
        typer.echo(f"{covered['reached']} of {covered['rules']} rules are reached")
    typer.echo(f"{told['tests'] - len(failures)} of {told['tests']} tests go as written")


# ---- stats ------------------------------------------------------------------------------------------------------


@app.command()
def stats(
    ctx: typer.Context,
    *,
    top: Annotated[int, typer.Option("--top", min=1, help="How many rules and decoders to list, dearest first.")] = 20,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="All counters as Prometheus text.")] = False,
    json: JsonOption = False,
) -> None:
    """How often rules and decoders were looked at, held and fired, and what they cost.

    `fired` counts every event that a rule took. The other figures come from one line in 256, walked without any plan: they
    rank rules, and are not the worker's time. Workers tell them every ten seconds and begin anew when they start.

    Exit status: 0 done, 1 the manager's state cannot be read.
    """
    settings: Settings = ctx.obj
    try:
        found = read_stats(settings.paths)
    except StoreError as error:
        fail(str(error), REFUSED)
    if prometheus:
        for line in _prometheus(found):
            typer.echo(line)
        return
    answer = [msgspec.to_builtins(one) | _named_figures(one) for one in found]
    settings.show(answer, lambda _answer: _print_stats(found, top), json=json)


_FIGURES = ("evaluated", "matched", "ns")


def _named_figures(one: RulesetStats) -> dict[str, Any]:
    return {
        kind: {str(name): {what: getattr(figure, what) for what in _FIGURES} for name, figure in figures.items()}
        for kind, figures in (("rules", one.rules), ("decoders", one.decoders))
    } | {"fired": {str(rule): count for rule, count in one.fired.items()}}


def _print_stats(found: Sequence[RulesetStats], top: int) -> None:
    if not found:
        typer.echo("no figures: no manager has run on this state, or none of its workers for ten seconds")
    for one in found:
        typer.echo(f"ruleset {plain(one.name)} ({one.hash}): {one.sampled} lines sampled, one in {one.sample_every}")
        typer.echo(f"{'':20}{'evaluated':>12}{'matched':>10}{'fired':>10}{'us each':>10}{'us a line':>11}")
        figures = [(f"rule {rule}", figure, one.fired.get(rule, 0)) for rule, figure in one.rules.items()]
        figures += [(f"decoder {name}", figure, -1) for name, figure in one.decoders.items()]
        for name, figure, fired in sorted(figures, key=lambda row: -row[1].ns)[:top]:
            each, line = figure.ns / max(figure.evaluated, 1) / 1000, figure.ns / max(one.sampled, 1) / 1000
            shown = "" if fired < 0 else str(fired)
            typer.echo(
                f"{plain(name)[:32]:20}{figure.evaluated:12}{figure.matched:10}{shown:>10}{each:10.2f}{line:11.3f}"
            )
        for text, times in one.suspended.items():
            typer.echo(f"suspended, {times} times: {plain(text)}")


def _prometheus(found: Sequence[RulesetStats]) -> Iterator[str]:
    metrics: tuple[tuple[str, str, Callable[[Figure], str]], ...] = (
        ("sampled_evaluated_total", "Times looked at, in the sample.", lambda figure: str(figure.evaluated)),
        ("sampled_matched_total", "Times all conditions held, in the sample.", lambda figure: str(figure.matched)),
        ("sampled_seconds_total", "Time taken, in the sample.", lambda figure: f"{figure.ns / 1e9:.9f}"),
    )
    for kind in ("rule", "decoder"):
        for metric, text, value in metrics:
            yield f"# HELP hids_{kind}_{metric} {text}"
            yield f"# TYPE hids_{kind}_{metric} counter"
            for one in found:
                figures: Iterable[tuple[object, Figure]] = (one.rules if kind == "rule" else one.decoders).items()
                for name, figure in figures:
                    yield f"hids_{kind}_{metric}{{{_labels(one, kind, str(name))}}} {value(figure)}"
    yield "# HELP hids_rule_fired_total Events that the rule took; every one is counted."
    yield "# TYPE hids_rule_fired_total counter"
    for one in found:
        for rule, count in one.fired.items():
            yield f"hids_rule_fired_total{{{_labels(one, 'rule', str(rule))}}} {count}"
    yield "# HELP hids_pattern_suspensions_total Times that a worker suspended a pattern that ran out of steps."
    yield "# TYPE hids_pattern_suspensions_total counter"
    for one in found:
        for text, times in one.suspended.items():
            yield f"hids_pattern_suspensions_total{{{_labels(one, 'pattern', text)}}} {times}"
    yield "# HELP hids_rules_sampled_lines_total Lines in the sample."
    yield "# TYPE hids_rules_sampled_lines_total counter"
    for one in found:
        yield f"hids_rules_sampled_lines_total{{{_labels(one)}}} {one.sampled}"


def _labels(one: RulesetStats, kind: str = "", name: str = "") -> str:
    pairs = [("ruleset", one.name), *([(kind, name)] if kind else [])]
    return ",".join(f'{key}="{_label(value)}"' for key, value in pairs)


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _usable(make: Callable[[], Made]) -> Made:
    """Make something of what was given; ends the program with words when that cannot be used."""
    try:
        return make()
    except ConfigError as error:
        fail(str(error), USAGE)
