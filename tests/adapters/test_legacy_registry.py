import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hids.adapters.enrolling import EnrolDesk, EnrolLimit, EnrolPolicy
from hids.adapters.legacy_registry import Wish
from hids.adapters.newcomer import Newcomer
from hids.adapters.registry import Registry
from hids.core.wire.ossec.enrol import read_answer
from hids.core.wire.ossec.keys import ClientKey, known_key_hash
from hids.errors import ConfigError, JoinRefused, RemoteProtocolError
from hids.messages.terms import AgentId

NOW = 1_700_000_000_000
HOUR = 3_600_000
PEM = (
    "-----BEGIN CERTIFICATE-----\nMIIBIDCBx6ADAgECAgEBMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAXgwHhcNMjYwMTAx\n"
    "-----END CERTIFICATE-----\n"
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with closing(Registry(tmp_path / "agents.db")) as opened:
        yield opened


def key(number: str = "001", name: str = "web1", ip: str = "any", secret: str = "") -> ClientKey:
    return ClientKey(number, name, ip, secret or f"{int(number):064x}")


def wish(name: str = "web1", *, ip: str = "any", known: str = "", numbered: bool = False) -> Wish:
    return Wish(name, ip, "", known, numbered)


def outcomes(registry: Registry, *keys: ClientKey) -> list[tuple[str, str]]:
    return [(done.outcome, done.agent_id) for done in registry.legacy.import_keys(keys, NOW)]


def never(_agent: AgentId) -> bool:
    return False


def test_imported_agents_keep_their_ids_and_importing_again_changes_nothing(registry: Registry):
    assert outcomes(registry, key(), key("1030", "db1")) == [("new", "001"), ("new", "1030")]
    assert outcomes(registry, key(), key("1030", "db1")) == [("known", "001"), ("known", "1030")]
    assert [row.name for row in registry.list()] == ["web1", "db1"]
    (first, second) = registry.legacy.agents()
    assert (first.wire_id, first.key, first.agent.id) == ("001", key().key, "001")
    assert second.wire_id == "1030"
    assert registry.legacy.key_of(AgentId("001")) == key()


def test_a_taken_number_gives_another_here(registry: Registry):
    outcomes(registry, key())
    assert outcomes(registry, key("001", "other", secret="b" * 64), key("1", "third", secret="c" * 64)) == [
        ("new", "002"),
        ("new", "003"),
    ]
    assert [agent.wire_id for agent in registry.legacy.agents()] == ["001", "001", "1"]


def test_a_changed_key_begins_new_counters(registry: Registry):
    outcomes(registry, key())
    assert outcomes(registry, key(ip="10.0.0.1")) == [("changed", "001")]
    assert registry.legacy.agents()[0].generation == 0
    assert outcomes(registry, key(secret="b" * 64)) == [("changed", "001")]
    assert registry.legacy.agents()[0].generation == 1
    registry.legacy.reset_counters(AgentId("001"))
    assert registry.legacy.agents()[0].generation == 2


def test_names_and_keys_of_others_are_refused(registry: Registry):
    outcomes(registry, key())
    assert outcomes(registry, key("002", "WEB1", secret="b" * 64)) == [("refused", "")]
    assert outcomes(registry, key("002", "web2", secret=key().key)) == [("refused", "")]


def test_weak_keys_are_said(registry: Registry):
    (done,) = registry.legacy.import_keys([key("1024")], NOW)
    assert "weak" in done.note


def test_who_is_no_old_agent_has_no_counters_and_no_key(registry: Registry):
    with pytest.raises(ConfigError):
        registry.legacy.reset_counters(AgentId("009"))
    with pytest.raises(ConfigError):
        registry.legacy.key_of(AgentId("009"))


def test_removed_agents_have_no_key_and_their_number_is_not_given_again(registry: Registry):
    outcomes(registry, key())
    registry.remove("001", "root", NOW)
    assert registry.legacy.agents() == ()
    made, _ = registry.legacy.enrol(wish(), NOW, never)
    assert made.agent.id == "002"


def test_enrolled_agents_get_keys_of_their_own(registry: Registry):
    one, _ = registry.legacy.enrol(wish(), NOW, never)
    other, _ = registry.legacy.enrol(wish("web2", ip="10.0.0.1"), NOW, never)
    assert len(one.key) == 64
    assert one.key != other.key
    assert (other.ip, other.wire_id) == ("10.0.0.1", "002")
    with pytest.raises(RemoteProtocolError, match="Duplicate IP"):
        registry.legacy.enrol(wish("web3", ip="10.0.0.1"), NOW, never)


def test_a_taken_name_gets_a_number_for_ossec_and_a_refusal_for_wazuh(registry: Registry):
    registry.legacy.enrol(wish(), NOW, never)
    again, _ = registry.legacy.enrol(wish(numbered=True), NOW, never)
    assert again.agent.name == "web12"
    with pytest.raises(RemoteProtocolError, match="Duplicate agent name: web1"):
        registry.legacy.enrol(wish(), NOW, never)


def test_an_agent_that_is_long_gone_is_replaced(registry: Registry):
    old, _ = registry.legacy.enrol(wish(), NOW, never)
    later = NOW + HOUR
    with pytest.raises(RemoteProtocolError):
        registry.legacy.enrol(wish(), later, lambda _agent: True)
    held = known_key_hash(ClientKey(old.wire_id, "web1", "any", old.key))
    with pytest.raises(RemoteProtocolError):
        registry.legacy.enrol(wish(known=held), later, never)
    registry.seen(old.agent.id, later - 1, "", "", "")
    with pytest.raises(RemoteProtocolError):
        registry.legacy.enrol(wish(), later, never)
    new, replaced = registry.legacy.enrol(wish(), later + HOUR, never)
    assert (new.agent.id, replaced) == ("002", "001")
    assert registry.get("001").removed_by == "enrolment"


def test_an_old_agent_becomes_one_of_ours_and_is_refused_on_the_old_protocol(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hids.adapters.registry.der_of", lambda pem: pem)
    outcomes(registry, key())
    token = registry.create_token(NOW, uses=2)
    row, _ = registry.enrol(token, Newcomer(name="web1", machine_id="m1", address=""), NOW, lambda _id: PEM.encode())
    assert row.id == "001"
    assert registry.legacy.agents() == ()
    with pytest.raises(JoinRefused):
        registry.enrol(token, Newcomer(name="web1", machine_id="m2", address=""), NOW, lambda _id: PEM.encode())
    assert outcomes(registry, key()) == [("refused", "")], "nor does an import bring the old key back"


def test_a_registry_of_the_version_before_is_brought_up_to_date(tmp_path: Path):
    with closing(Registry(tmp_path / "agents.db")):
        pass
    with closing(sqlite3.connect(tmp_path / "agents.db")) as db:
        db.execute("DROP TABLE legacy")
        db.execute("DROP TABLE pending")
        for table, columns in (
            ("agents", ("groups", "key", "renewed")),
            ("tokens", ("groups", "networks", "name", "approve")),
        ):
            for column in columns:
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    with closing(Registry(tmp_path / "agents.db")) as registry:
        assert outcomes(registry, key()) == [("new", "001")]


# ---- the desk


def desk(registry: Registry, **policy: object) -> EnrolDesk:
    return EnrolDesk(registry.legacy, EnrolPolicy(**({"password": "sesame-open"} | policy)), EnrolLimit(), never)


def test_a_right_password_gives_a_key(registry: Registry):
    said = desk(registry).answer(b"OSSEC PASS: sesame-open OSSEC A:'web1'\n", "192.0.2.7", NOW)
    assert read_answer(said.reply) == registry.legacy.key_of(AgentId("001"))
    assert said.agent is not None


@pytest.mark.parametrize("request_", [b"OSSEC A:'web1'\n", b"OSSEC PASS: wrong OSSEC A:'web1'\n"])
def test_a_wrong_one_gives_none(registry: Registry, request_: bytes):
    said = desk(registry).answer(request_, "192.0.2.7", NOW)
    assert said.is_guess
    assert said.reply.startswith(b"ERROR: Invalid password")
    assert desk(registry, password="").answer(request_, "192.0.2.7", NOW).is_guess, "without one nobody enrols"
    assert registry.list() == []


def test_addresses(registry: Registry):
    bound = desk(registry, use_source_ip=True)
    one = bound.answer(b"OSSEC PASS: sesame-open OSSEC A:'web1'\n", "192.0.2.7", NOW)
    assert read_answer(one.reply).ip == "192.0.2.7"
    other = desk(registry).answer(b"OSSEC PASS: sesame-open OSSEC A:'web2' V:'v4' IP:'src'\n", "192.0.2.8", NOW)
    assert read_answer(other.reply).ip == "192.0.2.8"


def test_so_many_an_hour(registry: Registry):
    one = desk(registry, per_hour=2)
    replies = [
        one.answer(f"OSSEC PASS: sesame-open OSSEC A:'web-{n}'\n".encode(), "192.0.2.7", NOW + at)
        for n, at in ((1, 0), (2, 1), (3, 2), (4, HOUR))
    ]
    assert [bool(reply.agent) for reply in replies] == [True, True, False, True]
    assert replies[2].reply.startswith(b"ERROR: Too many")
