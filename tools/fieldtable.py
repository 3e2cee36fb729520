"""Writes the files that say the same as the table of an alert's fields (hids/core/alert/fields.py).

.venv/bin/python tools/fieldtable.py    # after a change of that table, of the mapping, the tables or the dashboards

For OpenSearch and Elasticsearch: index templates and policies of retention; for their dashboards: saved objects; for Logstash: a
pipeline; for people: docs/reference/alerts.md.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dashboards
import logstash

from hids.adapters.outputs.tables import metadata, ossec_views
from hids.core.alert.fields import ECS_VERSION, FIELDS
from hids.core.alert.searchengine import index_template, retention_policy

PROJECT = Path(__file__).resolve().parent.parent
RETENTION_DAYS = 90
"""What the files in conf/ say, for who puts them by hand."""


def files() -> dict[str, str]:
    """Path in the project -> text of every file."""
    return {
        "conf/opensearch/index-template.json": _json(index_template("opensearch", retention_days=RETENTION_DAYS)),
        "conf/opensearch/ism-policy.json": _json(retention_policy("opensearch", retention_days=RETENTION_DAYS)),
        "conf/elasticsearch/index-template.json": _json(index_template("elasticsearch", retention_days=RETENTION_DAYS)),
        "conf/elasticsearch/ilm-policy.json": _json(retention_policy("elasticsearch", retention_days=RETENTION_DAYS)),
        "conf/dashboards/opensearch-dashboards.ndjson": dashboards.ndjson(),
        "conf/dashboards/kibana.ndjson": dashboards.ndjson(),
        "conf/logstash/hids.conf": logstash.CONF,
        "conf/logstash/hids.rb": logstash.ruby(),
        "docs/reference/alerts.md": "".join(_page()),
    }


def main() -> None:
    """Write the files."""
    for name, text in files().items():
        path = PROJECT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _json(tree: Any) -> str:
    return json.dumps(tree, indent=2) + "\n"


def _page() -> Iterator[str]:
    yield (
        "# Fields of an alert\n\nMade by `tools/fieldtable.py`; edit what it is made from.\n\n"
        "What a member of an alert in `alerts.json` is called in a document of OpenSearch and Elasticsearch (the Elastic Common "
        f"Schema {ECS_VERSION.rpartition('.')[0]}, and below `hids.` what that has no name for), and in the SQL table "
        "`hids_alerts`. How the outputs work is told in [databases.md](../databases.md).\n\n"
        "| in alerts.json | type | in a document | SQL column | meaning |\n|---|---|---|---|---|\n"
    )
    for field in FIELDS:
        names = ", ".join(f"`{name}{'.*' if field.type == 'address' else ''}`" for name in field.names)
        column = f"`{field.column}`" if field.column else ""
        yield f"| `{field.member}` | {field.type} | {names} | {column} | {field.says} |\n"
    yield (
        "\nAn `address` becomes `.ip` when it is one, else `.domain`; `.address` is what stood there. A `flat` object takes one field "
        "of the mapping, whatever names are in it; its values are searched as `data.name`.\n\n## SQL tables\n"
    )
    for table in metadata.sorted_tables:
        yield f"\n### {table.name}\n\n| column | type | meaning |\n|---|---|---|\n"
        for column in table.columns:
            key = "key" if column.primary_key else ""
            yield f"| `{column.name}` | {column.type} | {column.comment or key} |\n"
    yield "\n## Views with OSSEC's names\n\nMade with `ossec_views = true`.\n\n| view | columns |\n|---|---|\n"
    for name, select in ossec_views().items():
        yield f"| `{name}` | {', '.join(f'`{column.name}`' for column in select.selected_columns)} |\n"


if __name__ == "__main__":
    main()
