"""Which alerts are looked for in `search.db`, and the question in SQL."""

import re
from typing import Any

import msgspec

_TERMS = re.compile(r'"([^"]*)"|(\S+)')


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts are looked for: those for which all that is given holds."""

    since_ms: int | None = None
    until_ms: int | None = None
    """Event time, both ends included."""
    level_min: int = 0
    agent: str | None = None
    """Id or name."""
    rule: int | None = None
    group: str | None = None
    """One whole group name."""
    text: str | None = None
    """Words, all of which occur in the description, the logs, the agent's name, the location or a decoded
    field's value, in any case. "Quoted words" stand beside each other; a word that ends in * is a
    beginning."""
    limit: int = 50
    newest_first: bool = True
    """In the order of event time; with `text` or `after_number` in the order of numbers, in which alerts
    came."""
    after_number: int | None = None
    upto_number: int | None = None
    """Nothing that was added later, so that a follower can go on behind it."""


def select(query: Query) -> tuple[str, dict[str, Any]]:
    """The question for the numbers of alerts, and its values. Only constants become text of it."""
    tests = {
        "since_ms": "at_ms >= :since_ms",
        "until_ms": "at_ms <= :until_ms",
        "level_min": "level >= :level_min",
        "rule": "rule = :rule",
        "agent": "(agent = :agent OR agent IN (SELECT id FROM agents WHERE name = :agent))",
        "group": "rule IN (SELECT rule FROM groups WHERE name = :group)",
        "after_number": "number > :after_number",
        "upto_number": "number <= :upto_number",
    }
    values: dict[str, Any] = {name: value for name in (*tests, "limit") if (value := getattr(query, name)) is not None}
    for name, value in values.items():
        if isinstance(value, str):  # a command line may hold bytes that are no UTF-8
            values[name] = value.encode(errors="replace").decode()
    where = [test for name, test in tests.items() if name in values]
    order = "DESC" if query.newest_first else "ASC"
    if query.text is not None:
        values["text"] = _match(query.text.encode(errors="replace").decode())
        where.append("alerts_text MATCH :text")
        if query.since_ms is not None:  # spares the words of all that came before
            where.append("alerts_text.rowid >= (SELECT min(number) FROM alerts WHERE at_ms >= :since_ms)")
        # CROSS JOIN keeps the tables' order: words first, newest or oldest, until there are enough.
        source, by = "alerts_text CROSS JOIN alerts ON number = alerts_text.rowid", "alerts_text.rowid"
    else:
        source, by = "alerts", "number" if query.after_number is not None else f"at_ms {order}, number"
    conditions = " AND ".join(where)
    sql = f"SELECT number FROM {source} WHERE {conditions} ORDER BY {by} {order} LIMIT :limit"  # noqa: S608
    return sql, values


def _match(text: str) -> str:
    """A user's words as an FTS5 query: every one quoted, so that none is taken for syntax."""
    terms: list[str] = []
    for quoted, bare in _TERMS.findall(text.replace("\0", " ")):
        word = (quoted or bare).replace('"', '""')
        terms.append(f'"{word}"*' if bare.endswith("*") else f'"{word}"')
    return " ".join(terms) or '""'
