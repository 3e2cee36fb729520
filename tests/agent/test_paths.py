"""How paths are shown, and which are left alone."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hids.agent.paths import Excluded, shown

names = st.binary(max_size=20).map(os.fsdecode)


@settings(deadline=None)
@given(one=names, two=names)
def test_shown_paths_are_utf_8_and_differ_where_the_paths_differ(one: str, two: str):
    shown(one).encode("utf-8")
    assert (shown(one) == shown(two)) == (one == two)


def test_ordinary_paths_stay_as_they_are():
    assert shown("/var/log/größe 1.log") == "/var/log/größe 1.log"


def test_excluded_holds_what_is_below_it_and_what_leads_there(tmp_path: Path):
    (tmp_path / "own").mkdir()
    (tmp_path / "ownership").mkdir()
    (tmp_path / "link").symlink_to("own")
    excluded = Excluded([tmp_path / "own"])
    for inside in ("own", "own/x/y", "link", "link/x"):
        assert str(tmp_path / inside) in excluded
    for outside in ("", "ownership", "ownership/x", "x"):
        assert str(tmp_path / outside) not in excluded
    assert "/anything" in Excluded(["/"])
