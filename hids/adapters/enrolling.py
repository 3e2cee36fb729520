"""Enrolment as OSSEC's and Wazuh's agents ask for it: a name and a password in, a key out."""

from collections import deque
from collections.abc import Callable

import msgspec

from hids.adapters.legacy_registry import LegacyRegistry, Wish
from hids.core.wire.ossec.enrol import answer, is_password, read_request, refusal
from hids.core.wire.ossec.keys import ClientKey
from hids.errors import RemoteProtocolError
from hids.messages.legacy import LegacyAgent
from hids.messages.terms import AgentId

HOUR_MS = 3_600_000


class EnrolPolicy(msgspec.Struct, frozen=True):
    """What is up to the operator."""

    password: str
    """Empty: nobody can enrol."""
    cut_password: bool = False
    """Take the first 32 bytes of it, too."""
    use_source_ip: bool = False
    """Bind each key to the address that it was asked from."""
    per_hour: int = 1_000


class Enrolled(msgspec.Struct, frozen=True):
    """What is to be said to the agent, and what has changed here."""

    reply: bytes
    agent: LegacyAgent | None = None
    replaced: AgentId | None = None
    problem: str = ""
    """Why there is no key."""
    is_guess: bool = False
    """The password was wrong."""


class EnrolLimit:
    """How many agents were made in the last hour; outlives a question."""

    def __init__(self) -> None:
        self._made: deque[int] = deque()

    def has_room(self, per_hour: int, now_ms: int) -> bool:
        """Whether one more may be made."""
        while self._made and self._made[0] <= now_ms - HOUR_MS:
            self._made.popleft()
        return len(self._made) < per_hour

    def count(self, now_ms: int) -> None:
        """One was made."""
        self._made.append(now_ms)


class EnrolDesk:
    """Answers one request; use it on the registry's thread."""

    def __init__(
        self, registry: LegacyRegistry, policy: EnrolPolicy, limit: EnrolLimit, is_live: Callable[[AgentId], bool]
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._limit = limit
        self._is_live = is_live

    def answer(self, received: bytes, peer_ip: str, now_ms: int) -> Enrolled:
        """Give a key, or say why not.

        Raises:
            StoreError: the registry cannot be written.
        """
        policy = self._policy
        try:
            request = read_request(received)
            if not policy.password or not is_password(policy.password, request, may_be_cut=policy.cut_password):
                return Enrolled(refusal("Invalid password"), problem="wrong password", is_guess=True)
            if not self._limit.has_room(policy.per_hour, now_ms):
                problem = "Too many agents were added in the last hour"
                return Enrolled(refusal(problem), problem=problem)
            by_source = request.ip == "src" or (policy.use_source_ip and not request.ip)
            wish = Wish(
                name=request.name,
                ip=peer_ip if by_source else request.ip or "any",
                group=request.groups[0] if request.groups else "",
                known_key=request.known_key,
                numbered=not request.version,
            )
            agent, replaced = self._registry.enrol(wish, now_ms, self._is_live)
        except RemoteProtocolError as error:
            return Enrolled(refusal(str(error)), problem=str(error))
        self._limit.count(now_ms)
        key = ClientKey(agent.wire_id, agent.agent.name, agent.ip, agent.key)
        return Enrolled(answer(key), agent, replaced)
