"""What package managers' databases say."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.syscheck.packages import (
    Owned,
    Package,
    apk_installed,
    dpkg_list,
    dpkg_status,
    dpkg_sums,
    rpm_files,
    rpm_packages,
)

MD5 = "0123456789abcdef0123456789abcdef"

STATUS = f"""Package: one
Status: install ok installed
Architecture: amd64
Version: 1:2.3-4
Conffiles:
 /etc/one.conf {MD5}
 /etc/with blank {MD5} obsolete
 /etc/new newconffile
 relative {MD5}
Description: first
 Version: 9

Package: two
Version: 5
""".encode().splitlines(keepends=True)


def test_paragraphs_of_dpkg():
    one, two = dpkg_status(STATUS)
    assert (one.name, one.architecture, one.version) == ("one", "amd64", "1:2.3-4")
    assert one.conffiles == (
        Owned(b"/etc/one.conf", MD5, is_conffile=True),
        Owned(b"/etc/with blank", MD5, is_conffile=True),
        Owned(b"/etc/new", "", is_conffile=True),
    )
    assert (two.name, two.version, two.conffiles) == ("two", "5", ())


def test_sums_and_lists_of_dpkg():
    text = f"{MD5}  usr/bin/x\n{MD5}  usr/share/a  b\nnonsense\n{MD5} usr/one-blank\n{MD5}  \n".encode()
    assert dict(dpkg_sums(text.splitlines(keepends=True))) == {b"/usr/bin/x": MD5, b"/usr/share/a  b": MD5}
    listed = b"/.\n/usr\n/usr/bin\n/usr/bin/x\n/usr/binary\n/opt/\xff\nusr/bin/y\n"
    assert list(dpkg_list(listed, (b"/usr/bin",))) == [b"/usr/bin", b"/usr/bin/x"]
    assert list(dpkg_list(listed, (b"/opt", b"/usr/bin"))) == [b"/usr/bin", b"/usr/bin/x", b"/opt/\xff"]
    assert list(dpkg_list(listed, ())) == []
    assert b"/usr/binary" in list(dpkg_list(listed, (b"",)))


def test_packages_of_apk():
    digest = bytes(range(20))
    text = b"C:Q1abc=\nP:busybox\nV:1.36-r1\nt:1\nF:bin\nR:busybox\na:0:0:755\nZ:Q1" + base64.b64encode(digest)
    text += b"\nF:etc\nR:motd\nZ:Q1!!\n\nP:empty\nV:1\n"
    (package, files), (empty, none) = apk_installed(text.splitlines(keepends=True), 77)
    assert package == Package("busybox", "1.36-r1", "Q1abc= 1.36-r1", 77)
    assert files == (
        Owned(b"/bin"),
        Owned(b"/bin/busybox", digest.hex()),
        Owned(b"/etc"),
        Owned(b"/etc/motd", "", is_conffile=True),
    )
    assert (empty.name, none) == ("empty", ())


def test_packages_of_rpm():
    lines = [b"bash.x86_64\t0:5.2-1\t1700000000\t42\n", b"broken\n", b"a\tb\tc\td\n"]
    assert list(rpm_packages(lines)) == [("42", Package("bash.x86_64", "5.2-1", "42 1700000000", 1700000000000))]
    files = [
        b"/bin/sh\t\t\tbash\n",
        b"/etc/bashrc\t" + b"a" * 64 + b"\tcn\t\n",
        b"/x\tzz\t\t\n",
        b"rel\t\t\t\n",
        b"/y\n",
    ]
    assert list(rpm_files(files)) == [
        Owned(b"/bin/sh", "", target=b"bash"),
        Owned(b"/etc/bashrc", "a" * 64, is_conffile=True),
        Owned(b"/x", ""),
    ]


@pytest.mark.parametrize(
    "read", [dpkg_status, dpkg_sums, lambda lines: apk_installed(lines, 0), rpm_files, rpm_packages]
)
@given(st.lists(st.binary(max_size=60)))
def test_nonsense_is_left_out(read, lines):
    for _ in read(lines):
        pass
