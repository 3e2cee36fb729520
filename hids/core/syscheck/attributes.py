"""Extended attributes as the kernel has them -> the text that people know from getfacl and getcap."""

import struct
from collections.abc import Mapping

ACL, DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"
CAPABILITIES = "security.capability"
LABEL = "security.selinux"

MAX_ACL_BYTES = 4 + 8 * 512
"""Longer lists are told as their bytes. ext4 has some 500 entries at most in one block."""

_ACL_VERSION = 2
_ENTRY = struct.Struct("<HHI")
_TAGS = {0x01: "user:", 0x02: "user:{}", 0x04: "group:", 0x08: "group:{}", 0x10: "mask:", 0x20: "other:"}
"""linux/posix_acl.h."""

_REVISION_MASK, _EFFECTIVE = 0xFF000000, 0x000001
_WORDS = {0x01000000: 1, 0x02000000: 2, 0x03000000: 2}
"""Revision -> 32 bit words in each set (linux/capability.h). Revision 3 has a user id after them."""
_ROOT_ID_REVISION = 0x03000000

_CAPABILITIES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
).split()
"""By number, capabilities(7)."""


def acl_text(value: bytes) -> str:
    """A POSIX ACL in one line: "user::rw-,user:1000:r--,group::r--,mask::r--,other::r--"; hex for what is none."""
    if len(value) < 4 or len(value) > MAX_ACL_BYTES or (len(value) - 4) % _ENTRY.size:  # noqa: PLR2004 - its header
        return value[:64].hex()
    if int.from_bytes(value[:4], "little") != _ACL_VERSION:
        return value[:64].hex()
    return ",".join(
        f"{_TAGS.get(tag, f'{tag:#x}').format(number)}:{_rights(bits)}"
        for tag, bits, number in _ENTRY.iter_unpack(value[4:])
    )


def capabilities_text(value: bytes) -> str:
    """File capabilities as getcap writes them: "cap_net_admin,cap_net_raw=ep"; hex for what is none."""
    magic = int.from_bytes(value[:4], "little")
    words = _WORDS.get(magic & _REVISION_MASK)
    size = 4 + 8 * (words or 0)
    has_root = magic & _REVISION_MASK == _ROOT_ID_REVISION
    if words is None or len(value) != size + 4 * has_root:
        return value[:64].hex()
    numbers = struct.unpack(f"<{2 * words}I", value[4:size])
    permitted = sum(word << (32 * place) for place, word in enumerate(numbers[::2]))
    inheritable = sum(word << (32 * place) for place, word in enumerate(numbers[1::2]))
    flags = "e" if magic & _EFFECTIVE else ""
    by_flags: dict[str, list[str]] = {}
    for number in range(32 * words):
        bit = 1 << number
        letters = ("i" if inheritable & bit else "") + ("p" if permitted & bit else "")
        if letters:
            by_flags.setdefault(flags + letters, []).append(_capability(number))
    text = " ".join(f"{','.join(names)}={letters}" for letters, names in by_flags.items()) or "="
    return f"{text} [rootid={int.from_bytes(value[size:], 'little')}]" if has_root else text


def known_texts(values: Mapping[str, bytes]) -> tuple[str, str, str]:
    """(ACL, capabilities, SELinux label) out of a path's extended attributes; empty where there is none."""
    acls = [
        beginning + acl_text(values[name])
        for name, beginning in ((ACL, ""), (DEFAULT_ACL, "default:"))
        if name in values
    ]
    label = values.get(LABEL, b"").rstrip(b"\0").decode("utf-8", "backslashreplace")
    capabilities = capabilities_text(values[CAPABILITIES]) if CAPABILITIES in values else ""
    return ",".join(acls), capabilities, label[:256]


def _rights(bits: int) -> str:
    return "".join(letter if bits & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))


def _capability(number: int) -> str:
    return f"cap_{_CAPABILITIES[number]}" if number < len(_CAPABILITIES) else f"cap_{number}"
