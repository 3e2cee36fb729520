"""The native protocol between an agent and its manager (docs/protocol.md).

agent --Hello, Batch, Heartbeat, ...--> manager --Welcome, Ack, ...--> agent
"""

from typing import Annotated, Literal

import msgspec

from hids.messages.lines import Batch
from hids.messages.response import Noted, Respond, Responded
from hids.messages.terms import Digest, Labels, Number, ShortText

Ability = Literal["renew", "configure", "restart", "syscheck", "respond"]
"""What a peer understands beyond version 1's first messages: nobody is sent what he does not know."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """agent -> manager, first message of a session."""

    version: Number
    machine_id: ShortText
    epoch: Number
    """Numbers this spool. A new spool has a new, larger epoch."""
    oldest: Number
    """First sequence still in the spool."""
    next: Number
    """Sequence that the next line will get."""
    chain: Digest
    """Chain value of the line before `oldest` (32 bytes; zeros at the start of an epoch)."""
    clock_ms: Number
    previous_epoch: Number = 0
    """The epoch that this one replaces after a refusal; 0 for none."""
    software: ShortText = ""
    os: ShortText = ""
    hostname: ShortText = ""
    abilities: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=32)] = ()
    """`Ability`, and what later agents know."""
    labels: Labels = {}
    """What its configuration says that this host is."""
    config: ShortText = ""
    """Version of the manager's configuration that it has taken."""
    canary_s: Number = 0
    """A signed marker line (hids.core.wire.canary) comes each so many seconds; 0: none."""


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """agent -> manager, every 10 s, in sequence with the batches."""

    clock_ms: Number
    read_through_ms: Number
    """Every source of the agent has been read up to this event time."""
    spooled: Number = 0
    """Lines in the spool that are not yet acknowledged."""
    stopped: ShortText = ""
    """Why reading stopped ("spool full"), or empty."""


class Renew(msgspec.Struct, frozen=True, tag="renew"):
    """agent -> manager: my certificate ends soon."""

    csr: Annotated[bytes, msgspec.Meta(max_length=16_384)]
    """PEM, for a new key."""


class Configured(msgspec.Struct, frozen=True, tag="configured"):
    """agent -> manager: what became of a `Configuration`."""

    version: ShortText
    problem: ShortText = ""
    """Why it was not taken; empty when it was."""
    labels: Labels = {}
    """What this host is, now that it is taken."""


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """agent -> manager: closing on purpose."""

    reason: ShortText = "stopped"


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """manager -> agent: go on at this sequence."""

    from_seq: int
    credit: int
    """Bytes of `Batch.data` that may be under way unacknowledged; at least one batch always may."""
    clock_ms: int
    agent_id: str
    agent_name: str
    abilities: tuple[str, ...] = ()
    """As in `Hello`."""


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """manager -> agent: all lines through `seq` are committed; the spool may drop them."""

    seq: int
    credit: int


class NewEpoch(msgspec.Struct, frozen=True, tag="new_epoch"):
    """manager -> agent: this epoch cannot go on (snapshot, clone); open a new one and say hello again."""

    reason: str
    after: int
    """The new epoch must be larger than this."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """manager -> agent: no session. The connection is closed after it."""

    reason: str
    retry_s: int = 0
    """0: retrying is pointless until a person has acted."""


class Renewed(msgspec.Struct, frozen=True, tag="renewed"):
    """manager -> agent: the new certificate. The old one is valid until the new one is shown."""

    certificate: bytes
    """PEM."""


class Configuration(msgspec.Struct, frozen=True, tag="configuration"):
    """manager -> agent: what the manager sets for you; take it whole or not at all, and say which."""

    version: str
    """Hash of `body`; empty with an empty body: nothing is set."""
    body: bytes
    """msgpack of `SentConfig` (hids.core.collect.config)."""
    signature: bytes = b""
    """Ed25519 over `to_sign(body)`."""
    certificate: bytes = b""
    """PEM of the key's certificate, by the manager's CA."""


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """manager -> agent: start anew, in order."""

    by: str
    """Who asks for it."""


class AskDigests(msgspec.Struct, frozen=True, tag="ask_digests"):
    """manager -> agent: tell what you know of each directory below a path, among your lines (`DirectoryDigests`)."""

    check: str
    top: str
    """Empty: all that is watched."""


class Rescan(msgspec.Struct, frozen=True, tag="rescan"):
    """manager -> agent: look again at what is below these paths, and believe nothing that you remember of it."""

    paths: tuple[str, ...]
    """Empty: all that is watched."""
    baseline: bool = False
    """What is found is a first sight, no news."""


ToManager = Hello | Batch | Heartbeat | Renew | Configured | Responded | Bye

ToAgent = Welcome | Ack | Renewed | Configuration | Restart | AskDigests | Rescan | Respond | Noted | NewEpoch | Refused
