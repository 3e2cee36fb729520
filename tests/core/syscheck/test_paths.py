"""Paths as folder and name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.syscheck.paths import folder_of, is_below, range_of, split

PATHS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=6), max_size=4
).map(lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("/", "/", ""),
        ("/etc", "/", "etc"),
        ("/etc/passwd", "/etc/", "passwd"),
        (r"/a\\b/c\\d", r"/a\\b/", r"c\\d"),
        (r"c:\windows\notepad.exe", "c:\\windows\\", "notepad.exe"),
        (r"c:\windows/system32/x", r"c:\windows/system32/", "x"),
        (r"HKEY_LOCAL_MACHINE\Software\x", "HKEY_LOCAL_MACHINE\\Software\\", "x"),
        ("name", "", "name"),
    ],
)
def test_a_path_is_a_folder_and_a_name(path: str, folder: str, name: str):
    assert split(path) == (folder, name)


@given(PATHS)
def test_both_joined_are_the_path(path: str):
    folder, name = split(path)
    assert folder + name == path
    assert "/" not in name


@given(PATHS, PATHS)
def test_a_range_has_what_is_below_and_nothing_else(top: str, path: str):
    first, end = range_of(top)
    folder, _ = split(path)
    assert (first <= folder < end) == folder.startswith(folder_of(top))
    assert is_below(path, top) == (path == top or path.startswith(folder_of(top)))


def test_the_empty_path_is_above_all():
    first, end = range_of("")
    assert first <= "/" < end
    assert first <= "HKEY_USERS\\" < end
    assert is_below("c:\\x", "")


def test_folders_of_windows():
    assert folder_of(r"HKEY_USERS\a") == "HKEY_USERS\\a\\"
    assert folder_of("/etc/") == "/etc/"
