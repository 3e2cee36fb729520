import pytest

from hids.core.decode.decoder import field_name
from hids.core.dialect import Dialect


@pytest.mark.parametrize(
    ("written", "dialect", "field"),
    [
        ("user", "ossec", "dstuser"),
        ("user", "hids", "dstuser"),
        ("data", "ossec", "extra_data"),
        ("data", "hids", "data"),
        ("my_filename", "ossec", "filename"),
        ("my_filename", "hids", "my_filename"),
        ("systemname", "ossec", "system_name"),
        ("srcip", "hids", "srcip"),
        (" foo", "ossec", " foo"),
    ],
)
def test_names_in_an_order_list(written: str, dialect: Dialect, field: str) -> None:
    assert field_name(written, dialect) == field
