"""How a machine becomes an agent: the joining port, where anybody may connect."""

import msgspec

MAX_JOIN_BYTES = 64 * 1024
"""Longest frame on the joining port, where anybody may connect; a request with its CSR is about 1 KiB."""


class CaRequest(msgspec.Struct, frozen=True, tag="ca"):
    """agent -> manager on the joining port: show me your CA, so that I can compare it with my pin."""


class CaAnswer(msgspec.Struct, frozen=True, tag="ca_is"):
    """manager -> agent."""

    pem: bytes


class JoinRequest(msgspec.Struct, frozen=True, tag="join"):
    """agent -> manager over a connection that is verified against the pinned CA."""

    token: str
    name: str
    csr: bytes
    """PEM; only its public key and signature are used."""
    machine_id: str
    software: str = ""
    os: str = ""


class JoinAnswer(msgspec.Struct, frozen=True, tag="joined"):
    """manager -> agent."""

    agent_id: str
    name: str
    certificate: bytes
    ca: bytes
    session_port: int = 1514
    """Where the manager, at the same address, takes sessions."""


class JoinRefusal(msgspec.Struct, frozen=True, tag="join_refused"):
    """manager -> agent: one sentence for the person at the other end."""

    reason: str


class JoinPending(msgspec.Struct, frozen=True, tag="join_pending"):
    """manager -> agent: a person has to approve this; ask again with the same key."""

    reason: str
    retry_s: int = 5


ToJoin = CaRequest | JoinRequest

FromJoin = CaAnswer | JoinAnswer | JoinRefusal | JoinPending
