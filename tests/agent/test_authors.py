"""Which changes matter to who-data."""

from pathlib import Path

from hids.agent.authors import Scope
from hids.agent.config import DirectoryConfig, SyscheckConfig
from hids.agent.folders import Folders
from hids.agent.paths import Excluded


def test_what_matters_lies_in_folders_that_ask_or_is_our_own():
    directory = (DirectoryConfig(path="/srv/who", whodata=True), DirectoryConfig(path="/srv/who/not", whodata=False))
    scope = Scope(Folders(SyscheckConfig(directory=directory), Excluded(())), Path("/state/whodata/canary"))
    assert scope.roots == ["/srv/who"]
    assert [scope.asks(path) for path in ("/srv/who", "/srv/who/a", "/srv/who/not", "/srv", "/state/whodata")] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert scope.matters("/srv"), "the folder itself is an entry there"
    assert not scope.matters("/")
    assert (scope.has("/srv/who"), scope.has("/srv/x"), scope.has("/state/whodata/canary")) == (True, False, True)
