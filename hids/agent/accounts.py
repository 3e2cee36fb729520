"""Names of users and groups, remembered until they are to be asked again: a directory service may be far away."""

import functools
import grp
import pwd

import msgspec

from hids.messages.syscheck import Who


@functools.lru_cache(maxsize=1024)
def user_name(uid: int) -> str:
    """The name of a user; empty when there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@functools.lru_cache(maxsize=1024)
def group_name(gid: int) -> str:
    """The name of a group; empty when there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def forget_names() -> None:
    """Ask anew for the names of users and groups."""
    user_name.cache_clear()
    group_name.cache_clear()


def named(who: Who) -> Who:
    """The same process with the names of its users and group."""
    return msgspec.structs.replace(
        who,
        user=_name(who.uid),
        effective_user=_name(who.effective_uid),
        login_user=_name(who.login_uid),
        group=group_name(who.gid) if who.gid >= 0 else "",
    )


def _name(uid: int) -> str:
    return user_name(uid) if uid >= 0 else ""
