"""The table of fields holds together: no name twice, none in the way of another."""

from hids.core.alert.fields import COLLECTED, FIELDS, mapped
from hids.core.decode.decoder import STATIC_FIELDS
from hids.core.outputs import COMPLIANCE


def test_no_member_and_no_column_comes_twice():
    members = [field.member for field in FIELDS]
    columns = [field.column for field in FIELDS if field.column]
    assert len(members) == len(set(members))
    assert len(columns) == len(set(columns))


def test_only_what_collects_has_several_members():
    names = [name for field in FIELDS for name in field.names if name not in COLLECTED]
    assert len(names) == len(set(names))


def test_no_name_is_an_object_and_a_value():
    names = list(mapped())
    assert [(a, b) for a in names for b in names if b.startswith(f"{a}.")] == []


def test_every_requirement_an_output_can_filter_by_is_a_field():
    members = {field.member for field in FIELDS}
    assert {f"rule.{name}" for name in COMPLIANCE if name != "mitre"} <= members
    assert "rule.mitre.id" in members


def test_fields_of_data_are_those_of_decoders():
    named = {field.member.removeprefix("data.") for field in FIELDS if field.member.startswith("data.")}
    assert named <= STATIC_FIELDS
