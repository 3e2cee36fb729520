from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from hids.adapters.clock import SystemClock
from hids.adapters.identity import (
    Identity,
    agent_id_of,
    check_pin,
    der_of,
    key_pem,
    make_csr,
    new_key,
)
from hids.adapters.pki import Authority
from hids.errors import ConfigError, RemoteProtocolError, StoreError
from hids.messages.terms import AgentId


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open_or_create(tmp_path / "ca", SystemClock())


def identity(authority: Authority) -> Identity:
    key = new_key()
    certificate = authority.sign_agent(make_csr(key), AgentId("007"), "web-1")
    return Identity(manager="fe80::1%eth0", port=1514, key=key_pem(key), certificate=certificate, ca=authority.ca_pem)


def test_identity_comes_back_as_written(tmp_path: Path, authority: Authority):
    assert Identity.read(tmp_path) is None
    written = identity(authority)
    written.write(tmp_path)
    assert Identity.read(tmp_path) == written
    assert written.agent_id == "007"
    assert Identity.file(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("Manager:", "Boss:"),
        lambda text: text.replace("BEGIN PRIVATE", "BEGIN SECRET"),
        lambda _: "",
        lambda text: (
            text[: text.index("-----BEGIN P")] + key_pem(new_key()).decode() + text[text.index("-----BEGIN C") :]
        ),
    ],
    ids=["half", "no manager", "no key", "empty", "another key"],
)
def test_a_damaged_identity_says_what_to_do(tmp_path: Path, authority: Authority, damage: Callable[[str], str]):
    identity(authority).write(tmp_path)
    path = Identity.file(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(StoreError, match=r"identity\.pem: .*join the manager again"):
        Identity.read(tmp_path)


def test_the_pin_tells_cas_apart(tmp_path: Path, authority: Authority):
    ca = x509.load_pem_x509_certificate(authority.ca_pem)
    check_pin(authority.pin, ca)
    check_pin(f" {authority.pin.upper()}\n", ca)
    other = Authority.open_or_create(tmp_path / "other", SystemClock())
    with pytest.raises(ConfigError, match="someone in between") as caught:
        check_pin(other.pin, ca)
    assert authority.pin in str(caught.value)
    assert other.pin in str(caught.value)


@pytest.mark.parametrize("pin", ["", "sha256:", "sha256:12", "md5:" + "0" * 64, "sha256:" + "g" * 64])
def test_a_malformed_pin_is_refused(authority: Authority, pin: str):
    with pytest.raises(ConfigError, match="expected sha256: and 64 hex digits"):
        check_pin(pin, x509.load_pem_x509_certificate(authority.ca_pem))


def test_only_an_agents_certificate_has_an_agents_id(authority: Authority):
    with pytest.raises(RemoteProtocolError, match="expected an agent's certificate"):
        agent_id_of(der_of(authority.ca_pem))


@given(st.binary(max_size=200))
def test_garbage_has_no_agent_id(der: bytes):
    with pytest.raises(RemoteProtocolError):
        agent_id_of(der)
