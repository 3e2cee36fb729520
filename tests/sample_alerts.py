"""Alerts for tests of outputs: one of an attack, and ones in which an attacker has written wherever he can."""

import json
from typing import Any

from hypothesis import strategies as st

from hids.core.alert.view import View, view

NASTY = st.text(
    st.one_of(
        st.sampled_from("\\|=;\"^\t\n\r\x00\x1b\x7f\x9b<>&@'`*_[]{}:, "),
        st.characters(codec="utf-8"),
        st.sampled_from("\u2028\u2029\u202e\u200f\U0001f600é"),
    ),
    max_size=40,
)
"""Text that tries to break out."""


def alert(number: int = 17, **more: Any) -> bytes:
    """An alert as the outbox has it, without its newline; `more` replaces members, `data` and `rule` within theirs."""
    members: dict[str, Any] = {
        "timestamp": "2026-11-24T03:21:43.123+0000",
        "rule": {
            "level": 5,
            "description": "sshd: a login with an unknown user name failed.",
            "id": "201210",
            "firedtimes": 3,
            "mail": False,
            "groups": ["syslog", "sshd"],
            "pci_dss": ["10.2.4"],
            **more.pop("rule", {}),
        },
        "id": f"007-1-{number}",
        "agent": {"id": "007", "name": "web1", "ip": "10.0.0.1"},
        "manager": {"name": "boss"},
        "full_log": "Nov 24 03:21:42 web1 sshd[7]: Failed password for invalid user joe from 192.0.2.7 port 4022 ssh2",
        "predecoder": {"program_name": "sshd", "hostname": "web1"},
        "decoder": {"name": "sshd"},
        "data": {"srcip": "192.0.2.7", "srcport": "4022", "dstuser": "joe", **more.pop("data", {})},
        "location": "/var/log/auth.log",
        "hids": {"number": number, "source": "agent/007", "epoch": 1, "seq": number, "at_ms": 1_795_490_503_123},
        **more,
    }
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def incident(number: int, news: str = "first", root: int = 17, **more: Any) -> bytes:
    """An alert that is news of an incident."""
    made = json.loads(alert(number, **more))
    made["hids"]["incident"] = {"id": f"007-1-{root}", "key": {"srcip": "192.0.2.7"}, "news": news}
    return json.dumps(made, separators=(",", ":")).encode()


@st.composite
def hostile(draw: st.DrawFn) -> tuple[dict[str, str], View]:
    """What an attacker wrote, by field, and the alert that has it."""
    texts = {name: draw(NASTY) for name in ("description", "srcip", "dstuser", "url", "location", "agent", "full_log")}
    line = alert(
        rule={"description": texts["description"]},
        agent={"id": "007", "name": texts["agent"], "ip": "10.0.0.1"},
        data={name: texts[name] for name in ("srcip", "dstuser", "url")},
        location=texts["location"],
        full_log=texts["full_log"],
    )
    return texts, view(line)
