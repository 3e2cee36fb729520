"""A process that holds too much is killed and told; the others are left alone."""

import asyncio

from waiting import settle

from hids.actors.budget import Budget, Look
from hids.actors.dispatcher import Tell
from hids.actors.stage import Mailbox
from hids.messages.terms import MANAGER, Agent

BOSS = Agent(MANAGER, "boss", "")


def test_who_is_over_the_budget_is_replaced():
    async def test() -> None:
        held = {7: 50.0, 8: 101.0}
        killed: list[int] = []
        told: list[Tell] = []
        places = (Mailbox("lane"), Mailbox("worker-1"), Mailbox("worker-2"), Mailbox("senders"))
        for place, pid in zip(places, (7, 8, 0), strict=False):
            place.facts = {"pid": pid}.copy
        mailbox = Mailbox("budget")
        Budget.start(
            mailbox, lambda: places, lambda pid: held.get(pid, 0.0), killed.append, BOSS, told.append, limit_mib=100
        )
        mailbox.tell_life(1, Look())
        await settle()
        assert killed == [8]
        assert told == [Tell(BOSS, "memory budget: worker-1 held 101 MiB of 100 and was replaced")]
        assert mailbox.facts() == {"limit_mib": 100, "replaced": 1}
        mailbox.shut_down()
        await settle()

    asyncio.run(test())
