"""Configurator: sees to it that each agent has the configuration that the manager sets for it; tries new ones on canaries.

    control --Try, Settle--> configurator --Configuration--> agents' sessions;  fleet register --> configurator

Trial    a new version goes to the canaries only. When its time is over, and all of them have taken it and are connected, it
         goes to all. When one refuses it, or is gone at the end of the time, the canaries get the old one back, and an alert.
State    on disk, through `Store`. A trial goes on after a restart.
Full     it only looks at registers, once a second.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.collect.config import to_sign
from hids.core.collect.shared import Edition, Member, Rollout, SharedFile, Trial, edition_for
from hids.errors import ConfigError
from hids.messages.agent_link import Configuration
from hids.messages.terms import Agent
from hids.ports import Clock, Emit

log = structlog.get_logger()

TICK_S = 1.0
CONNECT_S = 20.0
"""An agent that goes away during a trial has so long to come back: a restart, or the network."""


class Store(Protocol):
    """Where versions and the rollout are kept (hids.adapters.shared_configs)."""

    def load(self) -> Rollout:
        """The rollout as it was noted."""
        ...

    def save(self, rollout: Rollout) -> None:
        """Note it durably."""
        ...

    def files(self, number: int) -> Mapping[str, SharedFile]:
        """A version's files."""
        ...


class Signer(Protocol):
    """Signs configuration (hids.adapters.signing)."""

    certificate: bytes

    def sign(self, data: bytes) -> bytes:
        """The signature over some bytes."""
        ...


class Tick(OneLife):
    """timer -> configurator."""


class Try(msgspec.Struct, frozen=True):
    """control -> configurator (asked): let these agents try a version; without any, it is for all at once."""

    number: int
    canaries: tuple[str, ...]
    watch_s: float


class Abandon(msgspec.Struct, frozen=True):
    """control -> configurator (asked): end the trial without taking its version."""

    why: str


class AskRollout(msgspec.Struct, frozen=True):
    """control -> configurator (asked): how it stands."""


class Configurator(LoopActor):
    """Compare what agents have with what they should have; judge trials."""

    def __init__(
        self,
        mailbox: Mailbox,
        store: Store,
        signer: Signer,
        fleet: Fleet,
        manager: Agent,
        clock: Clock,
        emit: Emit[Tell],
    ) -> None:
        super().__init__(mailbox)
        self._store = store
        self._signer = signer
        self._fleet = fleet
        self._manager = manager
        self._clock = clock
        self._emit = emit
        self._rollout = store.load()
        self._files: dict[int, Mapping[str, SharedFile]] = {}
        self._editions: dict[tuple[int, Member], Edition] = {}
        self._gone_ms: dict[str, int] = {}
        """Canary -> since when it is not connected."""
        self._timer = self.later(TICK_S, Tick())

    def on_receive(self, message: Tick | Try | Abandon | AskRollout) -> Rollout | None:
        """Look once, or answer."""
        match message:
            case Tick():
                self._look()
                self._timer = self.later(TICK_S, Tick())
                return None
            case Try():
                self._begin(message)
                return self._rollout
            case Abandon():
                self._abandon(message.why)
                return self._rollout
            case AskRollout():
                return self._rollout

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, int | str]:
        """Figures for `hidsctl status`."""
        trial = self._rollout.trial
        return {"version": self._rollout.current, "trial": trial.number if trial else 0, "last": self._rollout.last}

    # -- agents

    def _look(self) -> None:
        self._judge()
        for presence in self._fleet.all():
            if presence.connected and presence.send is not None and "configure" in presence.abilities:
                self._bring(presence, presence.send)

    def _bring(self, presence: Presence, send: Callable[[Configuration], None]) -> None:
        edition = self._edition(presence)
        if edition is None or edition.version in (presence.config, presence.config_sent):
            return
        presence.config_sent = edition.version
        log.info("configuration sent", agent=presence.agent.name, version=edition.version)
        send(self._signed(edition))

    def _signed(self, edition: Edition) -> Configuration:
        if not edition.body:
            return Configuration("", b"")
        signature = self._signer.sign(to_sign(edition.body))
        return Configuration(edition.version, edition.body, signature, self._signer.certificate)

    def _edition(self, presence: Presence) -> Edition | None:
        """What this agent should have; None while that cannot be said."""
        trial = self._rollout.trial
        tries = trial is not None and presence.agent.id in trial.canaries
        number = trial.number if trial is not None and tries else self._rollout.current
        member = Member(presence.agent.name, presence.groups, presence.os)
        known = self._editions.get((number, member))
        if known is None:
            try:
                if number not in self._files:
                    self._files[number] = self._store.files(number)
                known = edition_for(self._files[number], member)
            except ConfigError as error:
                log.error("configuration cannot be used", version=number, agent=member.name, reason=str(error))  # noqa: TRY400
                return None
            self._editions[number, member] = known
        return known

    # -- trials

    def _begin(self, message: Try) -> None:
        """Start a trial, or take a version for all.

        Raises:
            ConfigError: one is under way.
        """
        if self._rollout.trial is not None:
            raise ConfigError(f"version {self._rollout.trial.number} is on trial; wait for its end or roll it back")
        self._files[message.number] = self._store.files(message.number)
        if message.canaries:
            until_ms = self._clock.now_ms() + int(message.watch_s * 1000)
            self._note(msgspec.structs.replace(self._rollout, trial=Trial(message.number, message.canaries, until_ms)))
            self._gone_ms.clear()
        else:
            self._note(Rollout(message.number, None, f"version {message.number} is for all", "applied"))
        self._look()

    def _abandon(self, why: str) -> None:
        trial = self._rollout.trial
        if trial is not None:
            self._note(
                Rollout(self._rollout.current, None, f"version {trial.number} was taken back: {why}", "reverted")
            )

    def _judge(self) -> None:
        trial = self._rollout.trial
        if trial is None:
            return
        now_ms = self._clock.now_ms()
        over = now_ms >= trial.until_ms
        for agent_id in trial.canaries:
            problem = self._problem_of(agent_id, now_ms, over=over)
            if problem:
                self._abandon(problem)
                log.error("configuration taken back", version=trial.number, reason=problem)
                self._emit(Tell(self._manager, f"configuration reverted: version {trial.number}: {problem}"))
                return
        if over:
            log.info("configuration is for all", version=trial.number)
            self._note(
                Rollout(trial.number, None, f"version {trial.number} is for all, the trial went well", "applied")
            )

    def _problem_of(self, agent_id: str, now_ms: int, *, over: bool) -> str:
        """Why a canary is not well; empty when it is, or may still be."""
        presence = self._fleet.get(agent_id)
        if presence is None or not presence.connected:
            gone_ms = self._gone_ms.setdefault(agent_id, now_ms)
            if over or now_ms - gone_ms > CONNECT_S * 1000:
                name = presence.agent.name if presence is not None else agent_id
                return f"agent {name} is not connected any more"
            return ""
        self._gone_ms.pop(agent_id, None)
        if presence.config_problem:
            return f"agent {presence.agent.name}: {presence.config_problem}"
        if presence.stopped:
            return f"agent {presence.agent.name} stopped reading: {presence.stopped}"
        edition = self._edition(presence)
        if over and edition is not None and presence.config != edition.version:
            return f"agent {presence.agent.name} did not say that it has taken it"
        return ""

    def _note(self, rollout: Rollout) -> None:
        self._store.save(rollout)
        self._rollout = rollout
        keep = {rollout.current, rollout.trial.number if rollout.trial else rollout.current}
        self._files = {number: files for number, files in self._files.items() if number in keep}
        self._editions = {key: value for key, value in self._editions.items() if key[0] in keep}
        for presence in self._fleet.all():
            presence.config_problem, presence.config_sent = "", None
