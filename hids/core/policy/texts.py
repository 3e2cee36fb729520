"""Policies that a manager is to send, looked at before it does."""

from collections.abc import Mapping

from hids.core.policy.load import load_policy
from hids.errors import ConfigError


def check_policies(texts: Mapping[str, str]) -> None:
    """Read them as an agent will. Takes up to a second for a large one.

    Args:
        texts: name -> text of the files beside the manager's; others than policies are left alone.

    Raises:
        ConfigError: all that cannot be used, a line each.
    """
    problems: list[str] = []
    for name, text in texts.items():
        if name.endswith((".yml", ".yaml")):
            try:
                load_policy(text.encode(), name)
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
