"""Rule and decoder files -> `Ruleset`. Strict: what is not understood is a problem with file and line.

All problems of all files are collected and raised together. Files are read in the order given; a rule may
refer only to rules loaded before it, as upstream, except that in our dialect a composite over a group hears
of all its rules. What Wazuh leaves out with a warning is left out in its dialect and told in `Ruleset.refused`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from hids.core.decode.load import load_decoders
from hids.core.dialect import Dialect, Refused, dialect
from hids.core.markup import OSSEC_VARIABLE, VARIABLE, WAZUH_VARIABLE, Element, expand, read
from hids.core.rules.lists import ListTable, read_list
from hids.core.rules.rule import Ruleset, SourceFile
from hids.core.rules.tree import Tree, feeds
from hids.errors import Problem, RulesetError
from hids.messages.terms import Correlation

FORMAT = 5
"""Part of a ruleset's hash: raise it when the meaning of a compiled plan or a table changes."""


def load(
    name: str,
    dialect_name: str,
    files: Sequence[SourceFile],
    lists: Mapping[str, bytes] | None = None,
    *,
    correlation: Correlation = "native",
    log_fw: bool = True,
    strict: bool = False,
) -> Ruleset:
    """Read a ruleset: decoders and rules, told apart by their root elements.

    Args:
        name: for people.
        dialect_name: how all of its files are to be read.
        files: in the order in which they count.
        lists: text of each list, by the name that rules use.
        correlation: "compat" also keeps what upstream loses at load.
        log_fw: `analysisd.log_fw`: events of firewalls are for the firewall log, too. OSSEC then rewrites their action
            into its own word; what lacks a part of the log's line is dropped. Upstream's logtest does without.
        strict: what would be left out with a reason is a problem.

    Raises:
        RulesetError: with every problem found.
        ConfigError: no such dialect.
    """
    speaks = dialect(dialect_name)
    problems: list[Problem] = []
    refused: list[Refused] = []
    decoders: list[Element] = []
    groups: list[Element] = []
    for element in _elements(files, speaks, problems):
        if element.name == "decoder":
            decoders.append(element)
        elif element.name == "group":
            groups.append(element)
        else:
            problems.append(element.problem(f"expected <group>, <decoder> or <var>, got <{element.name}>"))
    decoder_tree = load_decoders(decoders, speaks, problems)
    tables = {key: ListTable(key, read_list(text, speaks), speaks) for key, text in (lists or {}).items()}
    tree = Tree(speaks, decoder_tree.names, tables, problems, refused, compat=correlation == "compat", log_fw=log_fw)
    tree.load(groups)
    tree.check_steps()
    if strict:
        problems += [Problem(r.file, r.line, f"{r.kind} {r.id}: {r.reason}") for r in refused]
    if problems:
        raise RulesetError(problems)
    top, children = tree.siblings()
    rules = tuple(tree.rules)
    return Ruleset(
        name=name,
        dialect=speaks,
        hash=_hash((name, speaks, correlation, str(log_fw)), files, lists or {}),
        correlation=correlation,
        log_fw=log_fw,
        decoders=decoder_tree,
        rules=rules,
        top=top,
        children=children,
        feeds=feeds(rules, speaks),
        sid_lists=tree.sid_lists(),
        group_marks=tree.group_marks(),
        refused=tuple(refused),
        by_id={rule.id: rule.index for rule in reversed(rules)},
    )


def _elements(files: Sequence[SourceFile], speaks: Dialect, problems: list[Problem]) -> Iterable[Element]:
    variable = {"ossec": OSSEC_VARIABLE, "wazuh": WAZUH_VARIABLE, "hids": VARIABLE}[speaks]
    for file in files:
        elements = read(file.path, file.text, problems, strict=speaks == "hids", pairs=speaks == "wazuh")
        yield from expand(elements, variable, problems)


def _hash(options: tuple[str, ...], files: Sequence[SourceFile], lists: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for part in (
        *(option.encode() for option in (str(FORMAT), *options)),
        *(part for file in files for part in (file.path.encode(), file.text)),
        *(part for key, text in sorted(lists.items()) for part in (key.encode(), text)),
    ):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
