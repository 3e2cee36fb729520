"""What the agent has of responses: the responder's place in the tree, its actions, and the link's way to it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from hids.actors.stage import Mailbox, MailboxFull
from hids.actors.supervisor import ChildSpec, Node
from hids.adapters.identity import Identity
from hids.adapters.surroundings import surroundings
from hids.agent.linkstate import LinkState, Probe
from hids.agent.responder import MAX_WAITING, Arrived, Outcomes, Responder, Trusted
from hids.agent.response.action import Action
from hids.agent.response.firewall import firewall_of
from hids.agent.response.host import DisableAccount, HostDeny, RouteNull
from hids.agent.response.program import ActionFailed
from hids.agent.response.script import Keys, Script
from hids.core.collect.config import ResponseConfig, address_of
from hids.core.response.guard import Surroundings
from hids.messages.response import Noted, Respond, Responded, ResponseOrder
from hids.ports import Clock

log = structlog.get_logger()

RESTART_S = 1.0
"""So that the outcome leaves before the agent restarts."""


class RestartAgent:
    """Has the agent start anew; there is nothing to undo."""

    repeatable = False

    def __init__(self, restart: Callable[[str], None]) -> None:
        self._restart = restart

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """In a moment."""
        asyncio.get_running_loop().call_later(RESTART_S, self._restart, order.why)

    async def delete(self, order: ResponseOrder) -> None:
        """Nothing."""


class Actions:
    """Makes actions by their names."""

    def __init__(self, config: ResponseConfig, restart: Callable[[str], None]) -> None:
        self._config = config
        self._restart = restart
        self._keys = Keys()

    def __call__(self, name: str) -> Action:  # noqa: PLR0911 - a table
        """The action of that name; what is not built in is a script.

        Raises:
            ActionFailed: this agent has none of that name.
        """
        config = self._config
        match name:
            case "firewall-drop":
                return firewall_of(config.firewall)
            case "host-deny":
                return HostDeny()
            case "route-null":
                return RouteNull()
            case "disable-account":
                return DisableAccount()
            case "restart":
                return RestartAgent(self._restart)
            case "cloudflare":
                if config.cloudflare is None:
                    raise ActionFailed("this agent has no [response] cloudflare in its agent.toml")
                from hids.agent.response.cloud import Cloudflare  # noqa: PLC0415 - few need it, and memory is dear

                return Cloudflare(config.cloudflare, config.timeout_s)
            case "aws-waf":
                if config.aws_waf is None:
                    raise ActionFailed("this agent has no [response] aws_waf in its agent.toml")
                from hids.agent.response.cloud import AwsWaf  # noqa: PLC0415 - as above

                return AwsWaf(config.aws_waf, config.timeout_s)
            case _:
                return Script(config.scripts, self._keys, config.timeout_s)


class Responses:
    """In the link's hands."""

    def __init__(
        self,
        folder: Path,
        config: ResponseConfig,
        spool: Mailbox,
        link: Mailbox,
        state: LinkState,
        clock: Clock,
        restart: Callable[[str], None],
        managers: Sequence[str] = (),
        *,
        answers: bool = True,
    ) -> None:
        """Responses.

        Args:
            folder: the agent's state.
            config: `[response]` of agent.toml.
            spool: takes audit lines.
            link: brings orders.
            state: the link's; knows where the manager is.
            clock: time.
            restart: has the agent start anew.
            managers: "host:port" of all that agent.toml names.
            answers: the manager wants to hear what became of an order; OSSEC's does not.
        """
        self._managers = tuple(address_of(manager)[0] for manager in managers if manager)
        self._answers = answers
        self._mailbox = Mailbox("responder", MAX_WAITING)
        self._folder = folder
        self._config = config
        self._spool = spool
        self._link = link
        self._state = state
        self._clock = clock
        self._actions = Actions(config, restart)
        self._outcomes = Outcomes()
        self.spec = ChildSpec(node=Node(self._mailbox, "responder"), start=self._start)

    # -- for the link

    def obey(self, message: Respond, offset_ms: int) -> None:
        """Carry it out. More than can wait are left for the next session, where they come again."""
        try:
            self._mailbox.tell(Arrived(message, offset_ms))
        except MailboxFull:
            log.error("an order was not taken: too many wait")  # noqa: TRY400

    def execute(self, order: ResponseOrder) -> None:
        """Carry out what an OSSEC manager orders."""
        try:
            self._mailbox.tell(Trusted(order))
        except MailboxFull:
            log.error("an order was not taken: too many wait", order=order.id)  # noqa: TRY400

    def noted(self, message: Noted) -> None:
        """The manager knows an outcome."""
        try:
            self._mailbox.tell(message)
        except MailboxFull:
            log.warning("a note was not taken: too many orders wait")

    @property
    def outcomes(self) -> Mapping[str, Responded]:
        """What the manager must hear."""
        return self._outcomes.waiting

    # -- for the responder

    @property
    def heard_s(self) -> float:
        """When the manager was heard last, monotonic."""
        return self._state.heard_s

    def probe(self) -> None:
        """Make the manager say something."""
        self._link.tell(Probe())

    def outcomes_wait(self) -> None:
        """There is something to say."""
        if self._answers:
            self._link.wake()
            return
        for said in tuple(self._outcomes.waiting.values()):
            self.noted(Noted(said.order, said.state))

    def _start(self, mailbox: Mailbox) -> None:
        Responder.start(
            mailbox,
            self._spool,
            self._folder,
            self._config,
            self._actions,
            self._who,
            self._surroundings,
            self,
            self._outcomes,
            self._clock,
        )

    def _who(self) -> tuple[str, bytes] | None:
        identity = Identity.read(self._folder)
        return None if identity is None else (identity.agent_id, identity.ca)

    def _surroundings(self) -> Surroundings:
        identity = Identity.read(self._folder)
        named = () if identity is None else (identity.manager,)
        return surroundings((self._state.peer, *named, *self._managers))
