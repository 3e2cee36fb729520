"""The tables of the SQL output, and views under the names that OSSEC's users know.

hids_alerts      one row an alert; `alert` is the whole of it in JSON
hids_rules       each rule as alerts showed it, with hids_rule_tags: its groups and requirements
hids_locations   where lines were read, and by which agent
hids_schema      version of these tables

alert, signature, category, signature_category_mapping, location, server, agent      views, if they are wanted
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from hids.core.alert.fields import Field
from hids.core.alert.row import COLUMNS, TAG_SIZE

VERSION = 1

_IN_ROW = 255
"""Characters; MySQL's rows hold 65,535 bytes, so what is longer is a TEXT there."""
_INDEXED = ("level", "rule_id", "agent_id", "srcip", "dstuser", "incident_id")

metadata = sa.MetaData()
_MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
"""Binary: names that differ only in case are different, as everywhere else."""

_Long = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_Moment = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=3), "mysql", "mariadb")


def _type(field: Field) -> sa.types.TypeEngine[Any]:
    match field.type:
        case "date":
            return _Moment
        case "long":
            return sa.BigInteger()
        case "boolean":
            return sa.Boolean()
        case _:
            return sa.String(field.size) if field.size <= _IN_ROW else _Long


def _key(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), primary_key=True, autoincrement=False)


_OF = {field.column: field for field in COLUMNS}


def _columns(*names: str) -> "list[sa.Column[Any]]":
    return [sa.Column(name, _type(_OF[name])) for name in names]


schema = sa.Table("hids_schema", metadata, _key("version"), **_MYSQL)

alerts = sa.Table(
    "hids_alerts",
    metadata,
    sa.Column("id", _type(_OF["id"]), primary_key=True),
    *(
        sa.Column(field.column, _type(field), nullable=field.column != "happened_at", comment=field.says)
        for field in COLUMNS
        if field.column != "id"
    ),
    sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="happened_at in milliseconds since 1970."),
    sa.Column("rule_key", sa.BigInteger(), nullable=False, comment="Row of hids_rules."),
    sa.Column("location_key", sa.BigInteger(), nullable=False, comment="Row of hids_locations."),
    sa.Column("alert", _Long, nullable=False, comment="The whole alert, JSON."),
    sa.Index("hids_alerts_by_time", "happened_at"),
    *(sa.Index(f"hids_alerts_by_{name}", name, "happened_at") for name in _INDEXED),
    **_MYSQL,
)

rules = sa.Table(
    "hids_rules", metadata, _key("rule_key"), *_columns("ruleset", "rule_id", "level", "description"), **_MYSQL
)

rule_tags = sa.Table(
    "hids_rule_tags",
    metadata,
    _key("rule_key"),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(TAG_SIZE), primary_key=True),
    sa.Index("hids_rule_tags_by_value", "value", "kind"),
    **_MYSQL,
)

locations = sa.Table(
    "hids_locations",
    metadata,
    _key("location_key"),
    sa.Column("server_key", sa.BigInteger(), nullable=False),
    *_columns("manager", "agent_id", "agent_name", "agent_ip", "location"),
    **_MYSQL,
)


def ossec_views() -> dict[str, Any]:
    """Name -> what it selects, with the columns of OSSEC's own schema."""
    a, r, t, p = alerts.c, rules.c, rule_tags.c, locations.c
    groups = t.kind == "group"
    return {
        "alert": sa.select(
            a.number.label("id"),
            p.server_key.label("server_id"),
            a.rule_id.label("rule_id"),
            a.level.label("level"),
            (a.at_ms // 1000).label("timestamp"),
            a.location_key.label("location_id"),
            a.srcip.label("src_ip"),
            a.dstip.label("dst_ip"),
            a.srcport.label("src_port"),
            a.dstport.label("dst_port"),
            a.id.label("alertid"),
            a.dstuser.label("user"),
            a.full_log.label("full_log"),
            sa.literal(0).label("is_hidden"),
            sa.literal("").label("tld"),
        ).join_from(alerts, locations, p.location_key == a.location_key),
        "signature": sa.select(
            r.rule_key.label("id"),
            r.rule_id.label("rule_id"),
            r.level.label("level"),
            r.description.label("description"),
        ),
        "category": sa.select(t.value.label("cat_id"), t.value.label("cat_name")).where(groups).distinct(),
        "signature_category_mapping": sa.select(
            r.rule_key.label("id"), r.rule_id.label("rule_id"), t.value.label("cat_id")
        )
        .join_from(rules, rule_tags, t.rule_key == r.rule_key)
        .where(groups),
        "location": sa.select(p.location_key.label("id"), p.server_key.label("server_id"), p.location.label("name")),
        "server": sa.select(p.server_key.label("id"), p.manager.label("hostname")).distinct(),
        "agent": sa.select(
            p.agent_id.label("id"),
            p.server_key.label("server_id"),
            p.agent_ip.label("ip_address"),
            p.agent_name.label("name"),
        ).distinct(),
    }
