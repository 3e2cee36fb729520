"""No actor of one test is met by the next."""

from collections.abc import Iterator

import pykka
import pytest


@pytest.fixture(autouse=True)
def no_actor_is_left() -> Iterator[None]:
    yield
    registry = pykka.ActorRegistry  # noqa: TID251 - pykka's list outlives each test's event loop
    registry.stop_all(block=False)
    for reference in registry.get_all():
        registry.unregister(reference)
