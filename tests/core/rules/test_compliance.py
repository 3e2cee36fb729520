"""Groups that are requirements of a framework."""

from hids.core.rules.compliance import FRAMEWORKS, Required, split_groups


def test_groups_of_compliance_stand_apart_in_the_order_of_wazuhs_alerts():
    groups = [
        "sshd",
        "tsc_CC6.1",
        "pci_dss_10.2.4",
        "gdpr_IV_35.7.d",
        "pci_dss_10.2.5",
        "nist_800_53_AU.14",
        "pci",
        "cisco",
    ]
    own, compliance = split_groups(groups)
    assert own == ["sshd", "pci", "cisco"]
    assert list(compliance.items()) == [
        ("pci_dss", ["10.2.4", "10.2.5"]),
        ("gdpr", ["IV_35.7.d"]),
        ("nist_800_53", ["AU.14"]),
        ("tsc", ["CC6.1"]),
    ]
    assert compliance.keys() <= FRAMEWORKS.keys()


def test_each_framework_is_a_member_of_an_alerts_rule():
    assert Required.__struct_fields__ == tuple(FRAMEWORKS)
