"""Frameworks of compliance: groups such as `pci_dss_10.2.4` say which requirement a rule's alerts are about."""

from collections.abc import Sequence
from typing import Final

import msgspec

FRAMEWORKS: Final = {
    "pci_dss": "PCI DSS",
    "cis": "CIS",
    "gdpr": "GDPR",
    "gpg13": "GPG 13",
    "hipaa": "HIPAA",
    "nist_800_53": "NIST 800-53",
    "tsc": "TSC (SOC 2)",
}
"""Prefix of the groups -> name. They are members of their own in Wazuh's alerts (`rule.pci_dss`), in this order."""


class Required(msgspec.Struct, frozen=True):
    """What an alert's rule says of requirements, by framework: a member for each of `FRAMEWORKS`."""

    pci_dss: tuple[str, ...] = ()
    cis: tuple[str, ...] = ()
    gdpr: tuple[str, ...] = ()
    gpg13: tuple[str, ...] = ()
    hipaa: tuple[str, ...] = ()
    nist_800_53: tuple[str, ...] = ()
    tsc: tuple[str, ...] = ()


def split_groups(groups: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The groups proper, and what stands behind each prefix of compliance, in the order of Wazuh's alerts."""
    tags = {prefix: [g.removeprefix(prefix + "_") for g in groups if _prefix(g) == prefix] for prefix in FRAMEWORKS}
    return [g for g in groups if _prefix(g) is None], {prefix: found for prefix, found in tags.items() if found}


def _prefix(group: str) -> str | None:
    return next((prefix for prefix in FRAMEWORKS if group.startswith(prefix + "_")), None)
