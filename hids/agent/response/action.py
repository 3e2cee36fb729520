"""Action: something that can be done about a target, and undone."""

from typing import Protocol

from hids.messages.response import ResponseOrder


class Action(Protocol):
    """One of them. All are safe to repeat but scripts."""

    repeatable: bool
    """Doing it again does no harm: after a crash it is done again rather than undone."""

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Do it.

        Args:
            order: what about.
            left_s: seconds until it will be undone; 0: never. Whoever can has the system undo it then.

        Raises:
            ActionFailed: it is not done.
        """
        ...

    async def delete(self, order: ResponseOrder) -> None:
        """Undo it; what is not there is undone.

        Raises:
            ActionFailed: it is still in force.
        """
        ...
