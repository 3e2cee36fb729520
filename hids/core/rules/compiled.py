"""Questions that are code instead of patterns: `<compiled_rule>`."""

import re
from collections.abc import Callable, Mapping

from hids.core.decode.event import Event

LONG_ID = 10
"""Bytes; a web server's status field is not longer unless something is stuffed into it."""

_ACCOUNT = rb" User Name:[ \t]*(.*?)(?:\t|  |\r|\n|\Z)"
_TARGET = re.compile(rb"(?s)Target" + _ACCOUNT)
_CALLER = re.compile(rb"(?s)Caller" + _ACCOUNT)

_CRAWLERS = (
    *(b"66.249.", b"72.14.", b"209.85."),  # Google
    *(b"65.52.", b"65.53.", b"65.54.", b"65.55.", b"207.46."),  # Microsoft
    *(b"66.196.", b"66.94.", b"67.195.", b"68.142.", b"72.30.", b"74.6."),  # Yahoo
)
"""Networks from which the large search engines fetch, by the address that starts a web server's log line."""


def _check_id_size(event: Event) -> bool:
    return len(event.fields.get("id", b"")) >= LONG_ID


def _same_users(event: Event) -> bool:
    users = (event.fields.get("srcuser"), event.fields.get("dstuser"))
    return None in users or users[0] == users[1]


def _other_windows_user(event: Event) -> bool:
    target, caller = _TARGET.search(event.log), _CALLER.search(event.log)
    return target is not None and caller is not None and target.group(1) != caller.group(1)


def _simple_request(event: Event) -> bool:
    """It asks for a page and sends nothing; Wazuh does not look at the method."""
    url, method = event.fields.get("url"), event.fields.get("action", b"")
    if event.dialect != "wazuh" and method.upper() == b"POST":
        return False
    return url is not None and (url == b"/" or b"?" not in url)


def _known_crawler(event: Event) -> bool:
    return event.log.startswith(_CRAWLERS)


COMPILED: Mapping[str, Callable[[Event], bool]] = {
    "check_id_size": _check_id_size,
    "comp_srcuser_dstuser": _same_users,
    "comp_mswin_targetuser_calleruser_diff": _other_windows_user,
    "is_simple_http_request": _simple_request,
    "is_valid_crawler": _known_crawler,
}
"""By the name that rules use."""
