import pytest

from hids.core.dialect import dialect
from hids.errors import ConfigError


@pytest.mark.parametrize("name", ["ossec", "wazuh", "hids"])
def test_known_dialects(name: str) -> None:
    assert dialect(name) == name


def test_an_unknown_dialect_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="one of ossec, wazuh, hids, got 'sigma'"):
        dialect("sigma")
