"""Policies are read before they are sent."""

import pytest

from hids.core.policy.texts import check_policies
from hids.errors import ConfigError

GOOD = "policy: {id: a, file: a.yml, name: A, description: d}\nchecks: [{id: 1, title: t, condition: all, rules: ['f:/x']}]\n"


def test_what_an_agent_could_not_use_is_named():
    check_policies({"a.yml": GOOD, "b.toml": "["})
    with pytest.raises(ConfigError) as refused:
        check_policies({"a.yml": GOOD, "b.yml": "[", "c.yaml": "policy: {id: c}"})
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == ["b.yml", "c.yaml"]
