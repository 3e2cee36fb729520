"""Which alerts an output wants: all filters must agree, an empty one wants all."""

from typing import Any

import pytest
from sample_alerts import alert, incident

from hids.core.delivery import Wanted
from hids.core.outputs import SyslogOutput


def wants(line: bytes, **filters: Any) -> bool:
    number, wanted = Wanted(SyslogOutput(server="h:1", **filters))(line)
    assert number == 17
    return wanted


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, True),
        ({"level": 5}, True),
        ({"level": 6}, False),
        ({"groups": ("pam", "sshd")}, True),
        ({"groups": ("ssh",)}, False),
        ({"rules": (1, 201210)}, True),
        ({"rules": (20121,)}, False),
        ({"agents": ("007",)}, True),
        ({"agents": ("web*",)}, True),
        ({"agents": ("WEB1", "db?")}, False),
        ({"locations": ("auth.log",)}, True),
        ({"locations": ("^(web1) 10.",)}, True),
        ({"locations": ("^/var",)}, False),
        ({"locations": (".log$",)}, True),
        ({"locations": ("^(web1) 10.0.0.1->/var/log/auth.log$",)}, True),
        ({"locations": ("^auth.log$", "syslog")}, False),
        ({"compliance": ("pci_dss",)}, True),
        ({"compliance": ("pci_dss:10.2",)}, True),
        ({"compliance": ("pci_dss:10.2.4",)}, True),
        ({"compliance": ("pci_dss:1",)}, False),
        ({"compliance": ("gdpr", "mitre")}, False),
        ({"level": 5, "groups": ("sshd",), "agents": ("db1",)}, False),
        ({"mail": True}, False),
        ({"send": "incidents"}, False),
    ],
)
def test_filters(filters: dict[str, Any], wanted: bool):  # noqa: FBT001
    assert wants(alert(), **filters) is wanted


def test_techniques_of_mitre_are_compliance_too():
    line = alert(rule={"mitre": {"id": ["T1110.001"]}})
    assert wants(line, compliance=("mitre:T1110",))
    assert not wants(line, compliance=("mitre:T11",))


def test_only_rules_that_are_for_mail():
    assert wants(alert(rule={"mail": True}), mail=True)


def test_only_what_is_new_in_an_incident():
    assert wants(incident(17), send="incidents")
    assert not wants(incident(17, news=""), send="incidents")
    assert not wants(incident(17), send="incidents", level=6)
