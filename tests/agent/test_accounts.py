"""Names of users and groups."""

import os

from hids.agent.accounts import forget_names, group_name, named, user_name
from hids.messages.syscheck import Who


def test_names_are_those_of_the_system():
    assert user_name(0) == "root"
    assert group_name(0) in {"root", "wheel"}
    assert (user_name(4_000_000_123), group_name(4_000_000_123)) == ("", "")
    forget_names()
    assert user_name.cache_info().currsize == 0


def test_a_process_has_the_names_of_whom_it_knows():
    who = named(Who(pid=os.getpid(), uid=0, effective_uid=0, login_uid=-1, gid=-1))
    assert (who.user, who.effective_user, who.login_user, who.group) == ("root", "root", "", "")
