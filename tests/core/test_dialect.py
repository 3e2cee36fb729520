import pytest

from hids.core.dialect import dialect
from hids.errors import ConfigError


@pytest.mark.parametrize("name", ["ossec", "hids"])
def test_known_dialects(name: str) -> None:
    assert dialect(name) == name


def test_wazuh_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match='"wazuh" is not available yet'):
        dialect("wazuh")


def test_an_unknown_dialect_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="one of ossec, hids, got 'sigma'"):
        dialect("sigma")
