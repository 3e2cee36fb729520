"""Which rulesets a configuration means."""

from pathlib import Path

from hids.adapters.paths import shipped
from hids.manager.config import Config
from hids.workers.nursery import Folder

PRODUCT_FILES = "6"
"""Our rules about hids itself, its agents and what they find have numbers that begin so (rules/README.md)."""
YIELDING = {"files": "60-syscheck.xml", "hosts": "61-hostinfo.xml", "policies": "65-sca.xml"}
"""Those that stay away where OSSEC's or Wazuh's own tell of the same (`Ruleset.tells`), so that a change is one alert."""


def folders(config: Config) -> list[Folder]:
    """The folders to load, in order; our rules where it names none.

    OSSEC's and Wazuh's rules do not know what hids says of itself: lines lost, agents gone, files changed. So where no
    ruleset is written for hids, our rules about that come along. Of changed files, of hosts and of policies they speak only when
    no other ruleset does.
    """
    found = [
        Folder(ruleset.name or Path(ruleset.path).name, ruleset.path, ruleset.dialect, ruleset.correlation)
        for ruleset in config.ruleset
    ]
    if not found:
        return [Folder("hids", str(shipped("rules")), "hids")]
    if all(folder.dialect != "hids" for folder in found):
        found.append(Folder("hids", str(shipped("rules")), "hids", only=PRODUCT_FILES, yields=YIELDING))
    return found
