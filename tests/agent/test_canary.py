"""Canaries go into a file of the agent's own: signed with its key, growing, and never more than a little of them."""

import asyncio
from pathlib import Path

import pytest
from waiting import SetClock, until

from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity, der_of, is_signed, key_pem, make_csr, new_key
from hids.adapters.pki import Authority
from hids.agent import canary
from hids.agent.canary import CanaryWriter
from hids.core.wire.canary import Canary, parse
from hids.messages.terms import AgentId


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    authority = Authority.open_or_create(tmp_path / "ca", SystemClock())
    key = new_key()
    certificate = authority.sign_agent(make_csr(key), AgentId("007"), "web1")
    return Identity("127.0.0.1", 1514, key_pem(key), certificate, authority.ca_pem)


def read(folder: Path) -> list[Canary]:
    path = folder / canary.FILE
    found = [parse(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [one for one in found if one is not None]


def write(folder: Path, count: int, clock: SetClock) -> list[Canary]:
    """Have a writer of its own write so many more."""

    async def main() -> list[Canary]:
        mailbox = Mailbox("canary")
        before = len(read(folder))
        CanaryWriter.start(mailbox, folder, clock, every_s=0.005)
        await until(lambda: len(read(folder)) >= before + count, "canaries are written")
        mailbox.shut_down()
        await until(mailbox.empty, "it stops")
        return read(folder)[before:]

    return asyncio.run(main())


def test_they_are_the_agents_own(tmp_path: Path, identity: Identity):
    identity.write(tmp_path)
    clock = SetClock()
    written = write(tmp_path, 3, clock)
    assert {one.agent_id for one in written} == {identity.agent_id}
    assert [one.at_ms for one in written[:3]] == [clock.ms, clock.ms + 1, clock.ms + 2]  # the clock stands still
    certificate = der_of(identity.certificate)
    assert all(is_signed(certificate, one.signed, one.signature) for one in written)
    assert not is_signed(certificate, written[0].signed, written[1].signature)
    assert not is_signed(b"no certificate", written[0].signed, written[0].signature)


def test_the_file_stays_small(tmp_path: Path, identity: Identity):
    identity.write(tmp_path)
    path = tmp_path / canary.FILE
    path.write_bytes(b"x" * (canary.MAX_BYTES + 1))
    write(tmp_path, 1, SetClock())
    assert path.stat().st_size < canary.MAX_BYTES
