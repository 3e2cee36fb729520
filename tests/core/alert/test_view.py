"""An alert as others see it, and ever smaller."""

import pytest
from sample_alerts import alert

from hids.core.alert.view import kind_of, smaller, view


def test_fields_have_their_full_names():
    seen = view(alert(data={"aws": {"source": {"ip": "192.0.2.9"}}, "flags": ["a", 1]}, syscheck={"path": "/etc/x"}))
    fields = dict(seen.fields())
    assert fields["aws.source.ip"] == "192.0.2.9"
    assert fields["flags"] == '["a",1]'
    assert fields["syscheck.path"] == "/etc/x"
    assert seen.field("flags") == ""


def test_it_becomes_smaller_from_what_matters_least():
    seen = view(alert(previous_output="p" * 1000, full_log="l" * 1000))
    steps = list(smaller(seen))
    assert len(steps[0].previous_output) == 200
    assert steps[1].previous_output == ""
    assert len(steps[1].full_log) == 1000
    assert len(steps[2].full_log) == 753
    assert (steps[-1].full_log, steps[-1].data) == ("", {})
    assert steps[-1].id == seen.id


@pytest.mark.parametrize(
    ("address", "kind"),
    [("192.0.2.1", "v4"), ("2001:db8::1", "v6"), ("", ""), ("host.example", "name"), ("1.2.3", "name")],
)
def test_what_an_address_is(address: str, kind: str):
    assert kind_of(address) == kind
