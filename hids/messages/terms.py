"""What every message is made of: who, which stream of lines, and how long a word from outside may be."""

from typing import Annotated, Literal, NewType

import msgspec

AgentId = NewType("AgentId", str)
"""Text digits, at least three ("001")."""

MANAGER = AgentId("000")
"""The manager itself."""

SourceId = NewType("SourceId", str)
"""A numbered stream of lines: "agent/007", or "derived/<kind>/<agent id>" for lines that the manager made."""


class Agent(msgspec.Struct, frozen=True, array_like=True):
    """Who sent a line, as alerts name it."""

    id: AgentId
    name: str
    ip: str
    labels: tuple[tuple[str, str], ...] = ()
    """What its configuration says that the host is."""


Kind = Literal["log", "agent", "syscheck", "eventchannel", "rootcheck", "sca", "response"]
"""What a line is: text of a log, an agent's word about itself, a packed `FileFact`, an event of Windows' event channel
with its XML, a finding of rootcheck, what came of a policy (hids.core.policy.lines), or what an agent did as a response
(hids.core.response.audit)."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""What an agent counts, or says the time is: refused at the door when no store could hold it."""

ShortText = Annotated[str, msgspec.Meta(max_length=256)]
"""Words from outside that are stored and shown."""

Labels = Annotated[dict[ShortText, ShortText], msgspec.Meta(max_length=32)]
"""What a host is, in its administrator's words."""

Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""SHA-256."""

Dialect = Literal["ossec", "wazuh", "hids"]
"""`ossec`: OSSEC 4's files, exactly. `wazuh`: Wazuh 4's, exactly. `hids`: ours; strict, PCRE2 only."""

Correlation = Literal["native", "compat"]
"""How composite rules count: by keyed windows of event time, or with the rings, marks and scope of the original."""
