"""Whatever a client writes, no alert names an address that the client chose: the real one, or none."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.core.rules import walk
from hids.core.rules.load import load
from hids.core.rules.rule import Ruleset, SourceFile
from hids.messages.lines import LogLine

RULES = Path(__file__).parents[2] / "rules"
REAL = "192.0.2.7"
FORGED = "203.0.113.66"

FRAGMENTS = (
    *("x", " ", "  ", '"', "'", "]", "[", ")", "(", ":", ": ", ",", ", ", ";", "\\", "-", "=", "1", "root"),
    *(FORGED, f" from {FORGED}", f" FROM {FORGED}", f"from '{FORGED}'", f"[{FORGED}]", f"({FORGED})", f" {FORGED} "),
    *(" port 22", " ssh2", " [preauth]", " by ", " for ", " user ", "invalid user ", " ID ", " not allowed because "),
    *("Failed password for ", "Accepted password for ", "Invalid user ", "message repeated 9 times: [ "),
    *(
        f" rhost={FORGED}",
        " ruser=",
        "  user=",
        "authentication failure; ",
        " FOR ",
        "' FOR '",
        ", Authentication failure",
    ),
    *(
        f'] FAIL LOGIN: Client "{FORGED}"',
        f'] OK MKDIR: Client "{FORGED}", "',
        ', anon password "',
        f'CONNECT: Client "{FORGED}"',
    ),
    *(
        f"unknown[{FORGED}]: ",
        "SASL LOGIN authentication failed",
        ", sasl_username=",
        "RCPT from ",
        "; from=<",
        "client=",
    ),
    *(
        f", client: {FORGED}",
        ", server: y",
        ', request: "',
        ', host: "',
        '" failed (2: x)',
        '": password mismatch',
        "user ",
    ),
    *(
        f"[client {FORGED}:1] ",
        "AH01617: ",
        ' not found: /"',
        "] ",
        "] [",
        f"{FORGED} - - ",
        "[24/Nov/2026:03:21:42 +0000]",
    ),
    *(
        f" from {FORGED} port 22 ssh2",
        ": RSA SHA256:aa",
        f" {FORGED} port 22 [preauth]",
        f" from {FORGED} not allowed because x",
    ),
    *(
        f'" failed (2: No such file or directory), client: {FORGED}, server: y',
        ', request: "a", host: "b',
        '"',
        '", host: "b"',
    ),
    *('] "GET / HTTP/1.1" 200 5', " HTTP/1.1", '" 200 5 "', "GET /"),
)


def escaped(text: str) -> str:
    """As Apache writes it into its access log."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


class Place(NamedTuple):
    """Where a program writes what a client chose, and what the client cannot write there."""

    line: str
    written: Callable[[str], str] = str


def without(characters: str) -> Callable[[str], str]:
    return lambda text: text.translate(dict.fromkeys(map(ord, characters)))


SSHD = "Nov 24 03:21:42 web1 sshd[712]: "
ACCESS = f"{REAL} - - [24/Nov/2026:03:21:42 +0000] "
APACHE = f"[Tue Nov 24 03:21:42.123456 2026] [core:error] [pid 7:tid 8] [client {REAL}:40022] "
NGINX = "2026/11/24 03:21:42 [error] 7#7: *45 "
NGINX_END = f', client: {REAL}, server: www.example.com, request: "GET /a HTTP/1.1", host: "www.example.com"'

PLACES = {
    "sshd, unknown user": Place(SSHD + f"Failed password for invalid user {{}} from {REAL} port 40022 ssh2"),
    "sshd, known user": Place(SSHD + f"Failed password for {{}} from {REAL} port 40022 ssh2"),
    "sshd, folded": Place(SSHD + f"message repeated 2 times: [ Failed password for {{}} from {REAL} port 40022 ssh2]"),
    "sshd, key of a certificate": Place(
        SSHD + f"Failed publickey for bob from {REAL} port 40022 ssh2: "
        "RSA-CERT SHA256:aa ID {} (serial 0) CA RSA SHA256:bb"
    ),
    "sshd, invented name": Place(SSHD + f"Invalid user {{}} from {REAL} port 40022"),
    "sshd, closed": Place(SSHD + f"Connection closed by invalid user {{}} {REAL} port 40022 [preauth]"),
    "sshd, thrown out": Place(
        SSHD + f"Disconnecting invalid user {{}} {REAL} port 40022: Too many authentication failures [preauth]"
    ),
    "sshd, all used up": Place(
        SSHD
        + f"error: maximum authentication attempts exceeded for invalid user {{}} from {REAL} port 40022 ssh2 [preauth]"
    ),
    "sshd, not allowed": Place(SSHD + f"User {{}} from {REAL} not allowed because not listed in AllowUsers"),
    "sshd, PAM": Place(SSHD + f"error: PAM: Authentication failure for illegal user {{}} from {REAL}"),
    "sshd, greeting": Place(SSHD + f"Bad protocol version identification '{{}}' from {REAL} port 40022"),
    "sshd, goodbye": Place(SSHD + f"Received disconnect from {REAL} port 40022:11: {{}}"),
    "PAM": Place(
        SSHD + "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= "
        f"rhost={REAL}  user={{}}"
    ),
    "PAM by vsftpd": Place(
        "Nov 24 03:21:42 web1 vsftpd[7]: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp "
        f"ruser={{}} rhost={REAL}  user={{}}"
    ),
    "login, util-linux": Place(
        f"Nov 24 03:21:42 web1 login[7]: FAILED LOGIN 1 FROM {REAL} FOR {{}}, Authentication failure"
    ),
    "login, shadow": Place(
        f"Nov 24 03:21:42 web1 login[7]: FAILED LOGIN (1) on '/dev/pts/0' from '{REAL}' FOR '{{}}', "
        "Authentication failure"
    ),
    "vsftpd, name": Place(f'Tue Nov 24 03:21:42 2026 [pid 7] [{{}}] FAIL LOGIN: Client "{REAL}"'),
    "vsftpd, file": Place(f'Tue Nov 24 03:21:42 2026 [pid 7] [bob] OK MKDIR: Client "{REAL}", "{{}}"'),
    "Postfix, name": Place(
        f"Nov 24 03:21:42 web1 postfix/smtpd[7]: warning: unknown[{REAL}]: SASL LOGIN authentication failed: x, "
        "sasl_username={}"
    ),
    "Postfix, greeting": Place(
        f"Nov 24 03:21:42 web1 postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[{REAL}]: 504 5.5.2 <{{}}>: "
        "Helo command rejected: x; from=<> to=<b@example.com> proto=SMTP helo=<{}>"
    ),
    "access log, address": Place(ACCESS + '"GET /{} HTTP/1.1" 404 5 "-" "-"', escaped),
    "access log, header": Place(ACCESS + '"GET /a HTTP/1.1" 404 5 "{}" "{}"', escaped),
    "access log, name": Place(f'{REAL} - {{}} [24/Nov/2026:03:21:42 +0000] "GET /a HTTP/1.1" 401 5 "-" "-"', escaped),
    "Apache, name": Place(APACHE + 'AH01617: user {}: authentication failure for "/private": Password Mismatch'),
    "Apache, path": Place(APACHE + "AH00128: File does not exist: /var/www/{}"),
    "nginx, name": Place(NGINX + 'user "{}": password mismatch' + NGINX_END, without(":")),
    "nginx, unknown name": Place(NGINX + 'user "{}" was not found in "/etc/nginx/users"' + NGINX_END, without(":")),
    "nginx, path": Place(NGINX + 'open() "/var/www/{}" failed (2: No such file or directory)' + NGINX_END),
}


@cache
def ruleset() -> Ruleset:
    return load("hids", "hids", [SourceFile(path.name, path.read_bytes()) for path in sorted(RULES.glob("*.xml"))])


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@settings(max_examples=100, deadline=None)
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_no_text_puts_its_own_address_into_an_alert(place: Place, text: str):
    line = place.line.replace("{}", place.written(text)).encode()
    event = walk.decoded(ruleset(), LogLine("/var/log/test.log", line, 0, 0), b"web1")

    assert event.fields.get("srcip", REAL.encode()) == REAL.encode(), line


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_an_ordinary_text_leaves_the_address_readable(place: Place):
    line = place.line.replace("{}", "bob").encode()
    event = walk.decoded(ruleset(), LogLine("/var/log/test.log", line, 0, 0), b"web1")

    assert event.fields["srcip"] == REAL.encode()
