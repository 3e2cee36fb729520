"""Extended attributes in the words of getfacl and getcap."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.syscheck.attributes import acl_text, capabilities_text, known_texts

NONE = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_an_acl():
    value = acl((1, 7, NONE), (2, 4, 1000), (4, 5, NONE), (8, 1, 33), (16, 7, NONE), (32, 0, NONE))
    assert acl_text(value) == "user::rwx,user:1000:r--,group::r-x,group:33:--x,mask::rwx,other::---"


@pytest.mark.parametrize("value", [b"", b"\x02\x00", struct.pack("<I", 9), acl((1, 7, NONE))[:-1], b"\x02\0\0\0" + b"x" * 9000])
def test_what_is_no_acl_is_told_as_bytes(value: bytes):
    assert acl_text(value) == value[:64].hex()


def test_capabilities():
    def value(magic: int, permitted: int, inheritable: int, more: bytes = b"") -> bytes:
        low = struct.pack("<III", magic, permitted & NONE, inheritable & NONE)
        return low + struct.pack("<II", permitted >> 32, inheritable >> 32) + more

    assert capabilities_text(value(0x02000001, 1 << 13 | 1 << 12, 0)) == "cap_net_admin,cap_net_raw=ep"
    assert capabilities_text(value(0x02000000, 1, 2)) == "cap_chown=p cap_dac_override=i"
    assert capabilities_text(value(0x02000001, 1 << 39 | 1 << 63, 0)) == "cap_bpf,cap_63=ep"
    assert capabilities_text(value(0x03000001, 1, 0, struct.pack("<I", 7))) == "cap_chown=ep [rootid=7]"
    assert capabilities_text(value(0x02000000, 0, 0)) == "="
    assert capabilities_text(b"xy") == b"xy".hex()


@pytest.mark.skipif(shutil.which("setcap") is None, reason="setcap (libcap2-bin) is not installed")
def test_capabilities_as_the_system_sets_them(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("")
    if subprocess.run(["setcap", "cap_net_raw,cap_sys_admin+eip", str(path)], check=False, capture_output=True).returncode:
        pytest.skip("capabilities cannot be set here")
    assert capabilities_text(os.getxattr(path, "security.capability")) == "cap_net_raw,cap_sys_admin=eip"


def test_all_that_is_known_of_a_path():
    values = {
        "system.posix_acl_access": acl((1, 6, NONE)),
        "system.posix_acl_default": acl((4, 4, NONE)),
        "security.selinux": b"system_u:object_r:etc_t:s0\0",
        "user.other": b"x",
    }
    assert known_texts(values) == ("user::rw-,default:group::r--", "", "system_u:object_r:etc_t:s0")
    assert known_texts({"user.x": b""}) == ("", "", "")


@given(st.binary(max_size=100))
def test_any_bytes(value: bytes):
    assert acl_text(value).isascii()
    assert capabilities_text(value).isascii()
