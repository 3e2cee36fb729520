import os
import re
from pathlib import Path

import pytest

from hids.core.rules.mitre import mitre_object

ROOT = Path(__file__).parents[3]


def test_names_of_techniques_and_their_tactics_each_once():
    assert mitre_object(["T1078", "T1110.001", "TA0006", "T9999"]) == {
        "id": ["T1078", "T1110.001", "TA0006", "T9999"],
        "tactic": ["Defense Evasion", "Persistence", "Privilege Escalation", "Initial Access", "Credential Access"],
        "technique": ["Valid Accounts", "Password Guessing"],
    }


def test_an_unknown_id_stands_for_itself():
    assert mitre_object(["T9999"]) == {"id": ["T9999"]}


@pytest.mark.parametrize(
    "folder",
    [
        ROOT / "rules",
        pytest.param(
            Path(os.environ.get("HIDS_CONFORMANCE", "-"), "wazuh"),
            marks=pytest.mark.skipif("HIDS_CONFORMANCE" not in os.environ, reason="needs HIDS_CONFORMANCE"),
        ),
    ],
)
def test_every_technique_that_rules_name_has_a_name(folder: Path):
    named = {
        each
        for file in folder.rglob("*.xml")
        for each in re.findall(rb"<id>(TA?\d{4}(?:\.\d{3})?)</id>", file.read_bytes())
    }
    assert named
    assert [each for each in named if len(mitre_object([each.decode()])) < 2] == []
