"""The manager's part of the configuration, as the agent keeps it."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from hids.adapters.clock import SystemClock
from hids.adapters.pki import Authority
from hids.adapters.signing import Signer
from hids.agent.shared import FILE, NO_POLICIES, SharedFile
from hids.core.collect.config import AgentConfig, CentralConfig, to_sign
from hids.core.collect.shared import Member, edition_for, parse_files
from hids.errors import ConfigError
from hids.messages.agent_link import Configuration

OWN = AgentConfig()
WILLING = AgentConfig(central=CentralConfig(accept_commands=True))


def configuration(signer: Signer | None, **texts: str) -> Configuration:
    files = {f"{name}.{'yml' if name == 'p' else 'toml'}": text for name, text in texts.items()}
    edition = edition_for(parse_files(files), Member("x"))
    if signer is None:
        return Configuration(edition.version, edition.body)
    return Configuration(edition.version, edition.body, signer.sign(to_sign(edition.body)), signer.certificate)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority.open_or_create(tmp_path / "ca", SystemClock())


@pytest.fixture
def signer(ca: Authority) -> Signer:
    return Signer.read(ca.configuration_file())


SENDS = {"all": '[policy]\nfiles = ["p.yml"]\n', "p": "text"}


def test_signed_policies_run_commands_where_the_host_allows_it(tmp_path: Path, ca: Authority, signer: Signer):
    SharedFile.of(configuration(signer, **SENDS)).write(tmp_path)
    kept = SharedFile.read(tmp_path)
    allowed = kept.policies(WILLING, ca.ca_pem)
    assert ([each.file for each in allowed.policies], allowed.refusal) == (["p.yml"], "")
    assert allowed.origin == "the manager, signed"
    assert "set [central] accept_commands = true" in kept.policies(OWN, ca.ca_pem).refusal


def test_without_a_signature_that_holds_they_run_none(tmp_path: Path, ca: Authority, signer: Signer):
    good = SharedFile.of(configuration(signer, **SENDS))
    other = configuration(signer, all=SENDS["all"], p="other").body
    responses = Signer.read(ca.responses_file())
    foreign = Signer.read(Authority.open_or_create(tmp_path / "foreign", SystemClock()).configuration_file())
    for shared in (
        SharedFile.of(configuration(None, **SENDS)),
        SharedFile.of(configuration(responses, **SENDS)),
        SharedFile.of(configuration(foreign, **SENDS)),
        msgspec.structs.replace(good, body=other),
        msgspec.structs.replace(good, signature=bytes(64)),
    ):
        said = shared.policies(WILLING, ca.ca_pem)
        assert said.origin == "the manager, not signed"
        assert said.refusal.startswith("the manager did not sign this policy")
    assert good.policies(WILLING, b"").origin == "the manager, not signed"


def test_what_is_refused_as_a_whole_brings_no_policies(ca: Authority, signer: Signer):
    commands = '[[source]]\nformat = "command"\ncommand = "df"\n'
    shared = SharedFile.of(configuration(signer, **SENDS, more=commands))
    assert shared.policies(OWN, ca.ca_pem) == NO_POLICIES
    assert shared.policies(WILLING, ca.ca_pem) != NO_POLICIES
    closed = AgentConfig(central=CentralConfig(accept=False, accept_commands=True))
    assert SharedFile.of(configuration(signer, **SENDS)).policies(closed, ca.ca_pem) == NO_POLICIES
    assert SharedFile().policies(WILLING, ca.ca_pem) == NO_POLICIES
    assert SharedFile.of(configuration(signer, all='[labels]\na = "b"\n')).policies(WILLING, ca.ca_pem) == NO_POLICIES


def test_what_is_damaged_is_refused_and_not_kept(tmp_path: Path, signer: Signer):
    message = configuration(signer, **SENDS)
    with pytest.raises(ConfigError, match="not the one that its version names"):
        SharedFile.of(msgspec.structs.replace(message, body=message.body + b"x"))
    odd = b"\x81\xa3odd\x01"
    with pytest.raises(ConfigError, match="is not understood"):
        SharedFile.of(Configuration(hashlib.sha256(odd).hexdigest()[:16], odd))
    (tmp_path / FILE).write_bytes(b"rubbish")
    (tmp_path / FILE).chmod(0o600)
    assert SharedFile.read(tmp_path) == SharedFile()
