import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.adapters import approvals
from hids.adapters.approvals import PENDING_S, Waits
from hids.adapters.clock import SystemClock
from hids.adapters.identity import der_of, fingerprint, make_csr, new_key
from hids.adapters.newcomer import MAX_TEXT, Newcomer
from hids.adapters.pki import Authority
from hids.adapters.registry import SCHEMA_VERSION, AgentRow, Registry
from hids.adapters.tokens import Terms
from hids.errors import ConfigError, JoinRefused, StoreError
from hids.messages.terms import AgentId

NOW = 1_750_000_000_000
"""2025-06-15 15:06:40 UTC."""


@pytest.fixture
def registry(tmp_path: Path) -> Generator[Registry]:
    registry = Registry(tmp_path / "agents.db")
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open_or_create(tmp_path_factory.mktemp("ca"), SystemClock())


class Desk:
    """Lets agents in, with real certificates."""

    def __init__(self, registry: Registry, authority: Authority) -> None:
        self.registry = registry
        self.authority = authority

    def sign(self, agent_id: AgentId) -> bytes:
        return self.authority.sign_agent(make_csr(new_key()), agent_id, "name")

    def join(self, name: str, machine_id: str = "m1", token: str | None = None, now_ms: int = NOW) -> AgentRow:
        token = self.registry.create_token(now_ms) if token is None else token
        newcomer = Newcomer(name=name, machine_id=machine_id, address="192.0.2.1", os="Debian 13", software="hids 0.1")
        row, certificate = self.registry.enrol(token, newcomer, now_ms, self.sign)
        assert row.fingerprint == fingerprint(der_of(certificate))
        return row


@pytest.fixture
def desk(registry: Registry, authority: Authority) -> Desk:
    return Desk(registry, authority)


# ---- tokens


def test_a_token_is_used_once(registry: Registry):
    token = registry.create_token(NOW)
    assert len(token) == 43
    registry.redeem(token, NOW)
    with pytest.raises(JoinRefused, match="the token has been used; make a new one with `hidsctl agent token`"):
        registry.redeem(token, NOW)


def test_a_token_may_have_several_uses(registry: Registry):
    token = registry.create_token(NOW, uses=3)
    for _ in range(3):
        registry.redeem(token, NOW)
    with pytest.raises(JoinRefused, match="has been used"):
        registry.redeem(token, NOW)


def test_a_token_expires(registry: Registry):
    token = registry.create_token(NOW, valid_s=60)
    with pytest.raises(JoinRefused, match="the token expired on 2025-06-15 15:07:40 UTC"):
        registry.redeem(token, NOW + 60_000)
    registry.redeem(token, NOW + 59_999)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_unknown_token_is_refused(registry: Registry, token: str):
    with pytest.raises(JoinRefused, match="does not know the token"):
        registry.redeem(token, NOW)


def test_a_token_is_nowhere_on_disk(registry: Registry, tmp_path: Path):
    token = registry.create_token(NOW, note="for web-1")
    assert all(token.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert any(b"for web-1" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(("valid_s", "uses"), [(0, 1), (1, 0), (-5, 1)])
def test_a_token_good_for_nothing_is_not_made(registry: Registry, valid_s: int, uses: int):
    with pytest.raises(ConfigError, match="at least 1 s and 1 use"):
        registry.create_token(NOW, valid_s=valid_s, uses=uses)


# ---- joining


def test_ids_count_up_and_are_not_given_out_again(desk: Desk):
    assert [desk.join(f"web-{n}").id for n in range(3)] == ["001", "002", "003"]
    desk.registry.remove("003", "root", NOW)
    assert desk.join("web-9").id == "004"
    assert [row.id for row in desk.registry.list()] == ["001", "002", "003", "004"]


def test_ids_grow_past_three_digits_in_order(desk: Desk, registry: Registry):
    desk.join("first")
    registry._db.conn.execute("UPDATE agents SET id = '999'")
    registry._db.conn.commit()
    assert [desk.join("a").id, desk.join("b").id] == ["1000", "1001"]
    assert [row.id for row in registry.list()] == ["999", "1000", "1001"]


def test_a_row_tells_all(desk: Desk):
    row = desk.join("web-1")
    assert row == AgentRow(
        id=AgentId("001"),
        name="web-1",
        machine_id="m1",
        fingerprint=row.fingerprint,
        address="192.0.2.1",
        os="Debian 13",
        software="hids 0.1",
        joined_ms=NOW,
        last_seen_ms=None,
        removed_ms=None,
        removed_by="",
    )
    assert desk.registry.get("001") == desk.registry.get("WEB-1") == row


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "ä", "x" * 65, "007", "web\n", "a\0b"])
def test_a_bad_name_is_refused_and_costs_no_token(desk: Desk, name: str):
    token = desk.registry.create_token(NOW)
    with pytest.raises(JoinRefused, match="cannot be used: expected 1 to 64 of"):
        desk.join(name, token=token)
    assert desk.join("x" * 64, token=token).id == "001"


@pytest.mark.parametrize("machine_id", ["", "x" * 65, "a b", "a\n"])
def test_a_bad_machine_id_is_refused(desk: Desk, machine_id: str):
    with pytest.raises(JoinRefused, match="expected a machine id"):
        desk.join("web-1", machine_id)


def test_a_taken_name_is_refused_and_costs_no_token(desk: Desk):
    first = desk.join("web-1", "m1")
    token = desk.registry.create_token(NOW)
    with pytest.raises(JoinRefused, match=r"web-1 belongs to agent 001 .*--name.*hidsctl agent remove 001"):
        desk.join("Web-1", "m2", token=token)
    assert desk.registry.list() == [first]
    desk.registry.remove("001", "root", NOW)
    assert desk.join("web-1", "m2", token=token).id == "002"


def test_the_same_machine_gets_its_id_back_and_its_old_certificate_ends(desk: Desk):
    old = desk.join("web-1")
    desk.registry.seen(old.id, NOW + 1, "192.0.2.9", "Debian 13", "hids 0.1")
    new = desk.join("web-1", now_ms=NOW + 5)
    assert (new.id, new.joined_ms, new.last_seen_ms) == (old.id, NOW + 5, NOW + 1)
    assert desk.registry.admit(new.id, new.fingerprint) == new
    with pytest.raises(JoinRefused, match="has joined anew since"):
        desk.registry.admit(old.id, old.fingerprint)


def test_a_removed_machine_that_joins_again_is_a_new_agent(desk: Desk):
    old = desk.join("web-1")
    desk.registry.remove("web-1", "alice", NOW)
    new = desk.join("web-1")
    assert (old.id, new.id) == ("001", "002")
    assert desk.registry.get("web-1") == new


def test_whatever_fails_while_signing_undoes_all(desk: Desk):
    token = desk.registry.create_token(NOW)

    def fail(_: AgentId) -> bytes:
        raise JoinRefused("no")

    newcomer = Newcomer(name="web-1", machine_id="m", address="")
    with pytest.raises(JoinRefused, match=r"^no$"):
        desk.registry.enrol(token, newcomer, NOW, fail)
    assert desk.registry.list() == []
    assert desk.join("web-1", token=token).id == "001"


def test_what_a_stranger_says_is_cut_and_cleaned(desk: Desk):
    newcomer = Newcomer(name="x", machine_id="m", address="", os="\x1b[2J" + "y" * 1000, software="a\nb")
    row, _ = desk.registry.enrol(desk.registry.create_token(NOW), newcomer, NOW, desk.sign)
    assert row.os == "?[2J" + "y" * (MAX_TEXT - 4)
    assert row.software == "a?b"


# ---- afterwards


def test_a_removed_agent_is_told_when_and_by_whom(desk: Desk):
    row = desk.join("web-1")
    gone = desk.registry.remove("web-1", "alice", NOW)
    assert (gone.removed_ms, gone.removed_by) == (NOW, "alice")
    with pytest.raises(
        JoinRefused,
        match="agent 001 was removed on 2025-06-15 15:06:40 UTC by alice; join again with a new token",
    ):
        desk.registry.admit(row.id, row.fingerprint)
    with pytest.raises(ConfigError, match=r"was removed on .* by alice"):
        desk.registry.remove("001", "bob", NOW)


def test_an_unknown_agent(desk: Desk):
    with pytest.raises(JoinRefused, match="has no agent 001"):
        desk.registry.admit(AgentId("001"), "00")
    for ask in (desk.registry.get, lambda key: desk.registry.remove(key, "root", NOW)):
        with pytest.raises(ConfigError, match="there is no agent 'web-1'; `hidsctl agent list`"):
            ask("web-1")


def test_seen(desk: Desk):
    desk.join("web-1")
    desk.registry.seen(AgentId("001"), NOW + 9, "2001:db8::1", "Fedora", "hids 0.2")
    row = desk.registry.get("001")
    assert (row.last_seen_ms, row.address, row.os, row.software) == (
        NOW + 9,
        "2001:db8::1",
        "Fedora",
        "hids 0.2",
    )
    desk.registry.last_seen({AgentId("001"): NOW + 99, AgentId("999"): NOW})
    assert desk.registry.get("001").last_seen_ms == NOW + 99


# ---- the file


def test_the_file_is_private_and_kept(desk: Desk, tmp_path: Path):
    row = desk.join("web-1")
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    again = Registry(tmp_path / "agents.db")
    try:
        assert again.list() == [row]
    finally:
        again.close()


def test_all_is_on_disk_before_it_is_told(registry: Registry):
    def pragma(name: str) -> object:
        return registry._db.conn.execute(f"PRAGMA {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("user_version")) == (
        "wal",
        2,
        SCHEMA_VERSION,
    )


def test_a_newer_file_is_left_alone(tmp_path: Path):
    path = tmp_path / "agents.db"
    Registry(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match="newer release"):
        Registry(path)


def test_what_is_no_registry_is_named(tmp_path: Path):
    path = tmp_path / "agents.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"agents\.db: .*not a database"):
        Registry(path)
    with pytest.raises(StoreError, match=r"unable to open|Is a directory"):
        Registry(tmp_path)
    with pytest.raises(StoreError, match="No such file"):
        Registry(tmp_path / "none" / "agents.db")


def test_a_full_disk_is_said_and_harms_nothing(desk: Desk):
    row = desk.join("web-1")
    pages = desk.registry._db.conn.execute("PRAGMA page_count").fetchone()[0]
    desk.registry._db.conn.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for _ in range(1000):
            desk.registry.create_token(NOW, note="x" * 200)

    with pytest.raises(StoreError, match=r"full.*check free space"):
        fill()
    assert desk.registry.admit(row.id, row.fingerprint) == row


def test_another_thread_is_refused(registry: Registry):
    caught: list[BaseException] = []

    def look() -> None:
        try:
            registry.list()
        except sqlite3.ProgrammingError as error:
            caught.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert len(caught) == 1


# ---- terms, approval, keys, groups


def newcomer(name: str = "web1", **changes: str) -> Newcomer:
    return Newcomer(**{"name": name, "machine_id": "m1", "address": "192.0.2.1", "key": "k1", **changes})


def test_a_token_may_be_for_one_name_one_network_and_some_groups(desk: Desk):
    terms = Terms(groups=("web", "prod"), networks=("192.0.2.0/24", "2001:db8::/32"), name="Web1")
    token = desk.registry.create_token(NOW, terms=terms)
    with pytest.raises(JoinRefused, match="for the name Web1 only"):
        desk.registry.enrol(token, newcomer("web2"), NOW, desk.sign)
    for address in ("198.51.100.1", "nonsense"):
        with pytest.raises(JoinRefused, match="may not be used from"):
            desk.registry.enrol(token, newcomer(address=address), NOW, desk.sign)
    row, _ = desk.registry.enrol(token, newcomer(address="2001:db8::7"), NOW, desk.sign)
    assert row.group_names == ("web", "prod")


@pytest.mark.parametrize("terms", [Terms(groups=("a b",)), Terms(networks=("10.0.0.1/8",)), Terms(name="7")])
def test_terms_that_make_no_sense(registry: Registry, terms: Terms):
    with pytest.raises(ConfigError):
        registry.create_token(NOW, terms=terms)


def test_approval(desk: Desk):
    registry = desk.registry
    token = registry.create_token(NOW, terms=Terms(approve=True, groups=("web",)))
    with pytest.raises(Waits) as waits:
        registry.enrol(token, newcomer(), NOW, desk.sign)
    assert waits.value.is_new
    with pytest.raises(Waits) as waits:
        registry.enrol("whatever", newcomer(), NOW, desk.sign)
    assert not waits.value.is_new
    with pytest.raises(JoinRefused, match="has been used"):
        registry.enrol(token, newcomer("web2", key="k2"), NOW, desk.sign)
    assert [(row.name, row.state) for row in registry.pending()] == [("web1", "waiting")]
    registry.decide("k1", "root", approved=True)
    row, _ = registry.enrol("", newcomer(), NOW, desk.sign)
    assert row.group_names == ("web",)
    assert list(registry.pending()) == []


def test_denied_and_forgotten(desk: Desk):
    registry = desk.registry
    token = registry.create_token(NOW, uses=2, terms=Terms(approve=True))
    for name in ("web1", "web2"):
        with pytest.raises(Waits):
            registry.enrol(token, newcomer(name, key=f"key-{name}", machine_id=name), NOW, desk.sign)
    with pytest.raises(ConfigError, match="more than one"):
        registry.decide("key", "root", approved=False)
    registry.decide("web1", "root", approved=False)
    with pytest.raises(JoinRefused, match="root denied it"):
        registry.enrol(token, newcomer(key="key-web1", machine_id="web1"), NOW, desk.sign)
    later = NOW + (PENDING_S + 1) * 1000
    fresh = registry.create_token(later)
    registry.enrol(fresh, newcomer(key="key-web1", machine_id="web1"), later, desk.sign)
    assert list(registry.pending()) == []


def test_so_many_may_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(approvals, "MAX_PENDING", 1)
    token = desk.registry.create_token(NOW, uses=2, terms=Terms(approve=True))
    with pytest.raises(Waits):
        desk.registry.enrol(token, newcomer(), NOW, desk.sign)
    with pytest.raises(JoinRefused, match="too many machines wait"):
        desk.registry.enrol(token, newcomer("web2", key="k2"), NOW, desk.sign)


def test_the_key_tells_who_it_is(desk: Desk):
    registry = desk.registry

    def join(who: Newcomer) -> AgentRow:
        return registry.enrol(registry.create_token(NOW), who, NOW, desk.sign)[0]

    first = join(newcomer())
    assert join(newcomer("renamed")).id == first.id
    assert join(newcomer("renamed", machine_id="a new mainboard".replace(" ", "-"))).id == first.id
    other = newcomer("copy", key="k2", machine_id="a-new-mainboard")
    clone_of = registry.clone_of(other)
    assert clone_of is not None
    assert clone_of.id == first.id
    assert join(other).id != first.id
    with pytest.raises(JoinRefused, match="belongs to agent"):
        join(newcomer("renamed", key="k3", machine_id="m9"))


def test_a_renewed_certificate_ends_the_old_one_when_it_is_shown(desk: Desk):
    registry = desk.registry
    row = desk.join("web1")
    certificate = registry.renew(row.id, "k9", lambda agent_id, _: desk.sign(agent_id))
    new = fingerprint(der_of(certificate))
    assert registry.admit(row.id, row.fingerprint).id == row.id  # it may have been lost on the way
    assert registry.admit(row.id, new).id == row.id
    assert registry.admit(row.id, new).id == row.id
    with pytest.raises(JoinRefused, match="no longer valid"):
        registry.admit(row.id, row.fingerprint)
    registry.remove(row.id, "root", NOW)
    with pytest.raises(JoinRefused, match="is removed"):
        registry.renew(row.id, "k9", lambda agent_id, _: desk.sign(agent_id))


def test_names_and_groups(desk: Desk):
    registry = desk.registry
    one, two = desk.join("web1"), desk.join("web2", "m2")
    assert registry.rename("web1", "www").id == one.id
    with pytest.raises(ConfigError, match=f"belongs to agent {two.id}"):
        registry.rename("www", "WEB2")
    with pytest.raises(ConfigError, match="cannot be used"):
        registry.rename("www", "-x")
    assert registry.set_groups("www", ["a", "b", "a"]).group_names == ("a", "b")
    assert desk.join("www").group_names == ("a", "b")  # joining again keeps them
    with pytest.raises(ConfigError, match="at most"):
        registry.set_groups("www", [f"g{number}" for number in range(40)])
    registry.remove("www", "root", NOW)
    with pytest.raises(ConfigError, match="is removed"):
        registry.rename("www", "x")


def test_an_older_file_is_brought_up_to_date(tmp_path: Path):
    path = tmp_path / "agents.db"
    with sqlite3.connect(path) as db:
        db.executescript(
            """
            CREATE TABLE agents (id TEXT PRIMARY KEY, name TEXT NOT NULL, machine_id TEXT NOT NULL,
                fingerprint TEXT NOT NULL, address TEXT, os TEXT, software TEXT, joined_ms INTEGER NOT NULL,
                last_seen_ms INTEGER, removed_ms INTEGER, removed_by TEXT DEFAULT '');
            CREATE TABLE tokens (hash TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
                uses_left INTEGER NOT NULL, note TEXT);
            INSERT INTO agents VALUES ('001', 'web1', 'm1', 'f', '', '', '', 1, NULL, NULL, '');
            PRAGMA user_version = 1;
            """
        )
    db.close()
    registry = Registry(path)
    (row,) = registry.list()
    assert (row.name, row.groups, row.key, row.renewed) == ("web1", "", "", "")
    assert list(registry.pending()) == []
    registry.close()
