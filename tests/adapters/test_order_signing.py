"""Signatures of orders: genuine ones hold, and everything else is named."""

from pathlib import Path

import msgspec
import pytest

from hids.adapters.clock import SystemClock
from hids.adapters.order_signing import OrderSigner, problem_of
from hids.adapters.pki import Authority
from hids.core.response.order import unpack
from hids.errors import StoreError
from hids.messages.response import ResponseOrder

ORDER = ResponseOrder(id="a:b:001", agent="001", response="b", command="c", action="firewall-drop", address="192.0.2.7")


def test_only_the_managers_signature_holds(tmp_path: Path):
    ours = Authority.open_or_create(tmp_path / "ca", SystemClock())
    path = ours.responses_file()
    assert path.stat().st_mode & 0o077 == 0
    signed = OrderSigner.read(path).sign(ORDER)
    assert unpack(signed.body) == ORDER
    assert problem_of(signed, ours.ca_pem) == ""
    assert ours.responses_file().read_bytes() == path.read_bytes(), "it is made once"

    for changed in (
        msgspec.structs.replace(signed, body=signed.body.replace(b"192.0.2.7", b"192.0.2.8")),
        msgspec.structs.replace(signed, signature=bytes(64)),
        msgspec.structs.replace(signed, signature=b""),
        msgspec.structs.replace(signed, certificate=b""),
        msgspec.structs.replace(signed, certificate=ours.ca_pem),
    ):
        assert problem_of(changed, ours.ca_pem)


def test_neither_another_manager_nor_an_agent_can_sign(tmp_path: Path):
    ours = Authority.open_or_create(tmp_path / "ca", SystemClock())
    theirs = Authority.open_or_create(tmp_path / "other", SystemClock())
    foreign = OrderSigner.read(theirs.responses_file()).sign(ORDER)
    assert "does not hold" in problem_of(foreign, ours.ca_pem)
    from hids.adapters.identity import make_csr, new_key  # noqa: PLC0415 - only here
    from hids.messages.terms import AgentId  # noqa: PLC0415 - only here

    agent = ours.sign_agent(make_csr(new_key()), AgentId("001"), "web1")
    assert "may sign this" in problem_of(msgspec.structs.replace(foreign, certificate=agent), ours.ca_pem)


def test_a_key_that_cannot_be_used_is_named_and_made_anew(tmp_path: Path):
    ours = Authority.open_or_create(tmp_path / "ca", SystemClock())
    with pytest.raises(StoreError, match="start the manager anew"):
        OrderSigner.read(tmp_path / "ca" / "responses.pem")
    path = ours.responses_file()
    path.write_bytes(b"rubbish")
    with pytest.raises(StoreError, match="damaged"):
        OrderSigner.read(path)
    OrderSigner.read(ours.responses_file())
