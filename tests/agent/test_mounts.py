"""What is mounted from elsewhere is known by name before anything is asked of it."""

from pathlib import Path

from hids.agent.mounts import Mounts

INFO = r"""22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw,nosuid shared:12 - proc proc rw
24 22 0:40 / /srv/share rw,relatime - nfs4 server:/share rw,vers=4.2
25 22 0:41 / /srv/two\040words rw - cifs //server/x rw
26 22 0:42 / /srv/local rw master:3 - xfs /dev/vdb rw
"""


def mounts(tmp_path: Path, text: str = INFO, *, skip: bool = True) -> Mounts:
    path = tmp_path / "mountinfo"
    path.write_text(text)
    return Mounts(skip_network=skip, mountinfo=path)


def test_names_of_what_is_left_out(tmp_path: Path):
    found = mounts(tmp_path)
    assert found.names_in("/srv") == {"share", "two words"}
    assert found.names_in("/") == {"proc"}
    assert found.names_in("/etc") == set()
    assert [found.hides(path) for path in ("/srv/share", "/srv/share/x", "/srv/shared", "/srv")] == [
        True,
        True,
        False,
        False,
    ]


def test_network_mounts_can_be_let_in(tmp_path: Path):
    found = mounts(tmp_path, skip=False)
    assert found.names_in("/srv") == set()
    assert found.names_in("/") == {"proc"}


def test_a_refresh_sees_what_came_and_nonsense_is_no_mount(tmp_path: Path):
    found = mounts(tmp_path, "nonsense\n\n - - -\n")
    assert not found.points
    (tmp_path / "mountinfo").write_text(INFO)
    found.refresh()
    assert "/srv/share" in found.points
    (tmp_path / "mountinfo").unlink()
    found.refresh()
    assert not found.points


def test_this_machine():
    assert "/proc" in Mounts(skip_network=True).points
