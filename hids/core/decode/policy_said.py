"""What came of an agent's policies -> fields, by Wazuh's names: sca.policy, sca.check.result, sca.score, ..."""

from hids.core.decode.fields import Fields
from hids.core.policy.lines import fields_of, read_said


def take_said(text: bytes, fields: Fields) -> None:
    """Put a line's members into `fields`; of what is no such line nothing is taken."""
    said = read_said(text)
    if said is None:
        return
    for name, value in fields_of(said):
        fields.add(name, value.encode("utf-8", "replace"))
