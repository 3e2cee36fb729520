import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec import dbsync
from hids.core.wire.ossec.dbsync import DbSync, Row, range_checksum, read_message
from hids.errors import RemoteProtocolError
from hids.messages.syscheck import FileFact
from hids.messages.terms import AgentId

AGENT = AgentId("007")


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class MemoryRows:
    """Rows in a dict."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], Row] = {}

    def put(self, agent: AgentId, component: str, row: Row, limit: int) -> bool:
        if (component, row.key) not in self.rows and len(self.rows) >= limit:
            return False
        self.rows[component, row.key] = row
        return True

    def remove(self, agent: AgentId, component: str, key: bytes) -> None:
        self.rows.pop((component, key), None)

    def checksums(self, agent: AgentId, component: str, begin: bytes, end: bytes) -> Iterator[str]:
        return (row.checksum for row in self._sorted(component) if begin <= row.key <= end)

    def drop(
        self, agent: AgentId, component: str, above: bytes | None, below: bytes | None, limit: int
    ) -> tuple[str, ...]:
        gone = [
            row
            for row in self._sorted(component)
            if (above is None or row.key > above) and (below is None or row.key < below)
        ][:limit]
        for row in gone:
            del self.rows[component, row.key]
        return tuple(row.path for row in gone)

    def keep_only(self, agents: set[AgentId]) -> None:
        """One agent only."""

    def commit(self) -> None:
        """At once."""

    def close(self) -> None:
        """Nothing."""

    def _sorted(self, component: str) -> list[Row]:
        return sorted(row for (of, _), row in self.rows.items() if of == component)


class Agent:
    """Wazuh's side of the exchange, as the protocol is described: halves what differs, sends rows."""

    def __init__(self, sync: DbSync, files: dict[str, str], component: str = "fim_file") -> None:
        self.sync = sync
        self.files = {path: sha1(path + content) for path, content in files.items()}
        self.component = component
        self.facts: list[FileFact] = []
        self.sent = 0

    def say(self, type_: str, now_s: float = 0.0, **data: Any) -> bytes:
        self.sent += 1
        message = {"component": self.component, "type": type_, "data": {"id": 17, **data}}
        outcome = self.sync.take(AGENT, json.dumps(message).encode(), now_s)
        self.facts += outcome.facts
        return outcome.answer

    def checksum(self, keys: list[str]) -> str:
        return sha1("".join(self.files[key] for key in keys))

    def synchronise(self) -> None:
        keys = sorted(self.files, key=str.encode)
        if not keys:
            self.say("integrity_clear")
            return
        self._check("integrity_check_global", keys)

    def _check(self, type_: str, keys: list[str], **more: str) -> None:
        answer = self.say(type_, begin=keys[0], end=keys[-1], checksum=self.checksum(keys), **more)
        if not answer:
            return
        head, _, range_ = answer.partition(b" {")
        assert head.startswith(b"#!-" + self.component.encode() + b" dbsync ")
        assert json.loads(b"{" + range_) == {"begin": keys[0], "end": keys[-1], "id": 17}
        if head.endswith(b"no_data") or len(keys) == 1:
            for key in keys:
                self.say("state", index=key, timestamp=1, attributes={"size": 5, "checksum": self.files[key]})
        else:
            assert head.endswith(b"checksum_fail")
            middle = len(keys) // 2
            self._check("integrity_check_left", keys[:middle], tail=keys[middle])
            self._check("integrity_check_right", keys[middle:])


def test_v4_the_checksum_of_a_range():
    rows = ["da39a3ee5e6b4b0d3255bfef95601890afd80709", "a9993e364706816aba3e25717850c26c9cd0d89d"]
    assert range_checksum(rows) == ("8f12fbeb0bffb193534d759c4bf79be7a3eb4db6", 2)


def test_answers_byte_for_byte():
    sync = DbSync(MemoryRows())
    check = (
        b'{"component":"fim_file","type":"integrity_check_global",'
        b'"data":{"id":1700000000,"begin":"/a","end":"/z","checksum":"%b"}}' % (b"0" * 40)
    )
    answer = b'#!-fim_file dbsync no_data {"begin":"/a","end":"/z","id":1700000000}'
    assert sync.take(AGENT, check, 0).answer == answer
    state = (
        b'{"component":"fim_file","type":"state","data":{"index":"/b","timestamp":1,"attributes":{"checksum":"%b"}}}'
    )
    assert sync.take(AGENT, state % (b"1" * 40), 0).answer == b""
    assert sync.take(AGENT, check, 0).answer == answer.replace(b"no_data", b"checksum_fail")
    clear = b'{"component":"fim_file","type":"integrity_clear","data":{"id":1700000000}}'
    assert sync.take(AGENT, clear, 0) == dbsync.Outcome(facts=(FileFact(path="/b", seen="baseline", gone=True),))


contents = st.dictionaries(
    st.text("ab/é\U0001f600", min_size=1, max_size=4), st.sampled_from(["one", "two"]), max_size=12
)


@given(contents, contents)
def test_afterwards_the_manager_has_what_the_agent_has(first: dict[str, str], then: dict[str, str]):
    rows = MemoryRows()
    sync = DbSync(rows)
    Agent(sync, first).synchronise()
    for _ in range(3):  # rows that only the manager has between two halves are found once both agree
        agent = Agent(sync, then)
        agent.synchronise()
    assert {row.path: row.checksum for row in rows.rows.values()} == agent.files
    assert agent.sent == 1, "and then nothing is asked any more"


def test_what_is_learned_is_the_baseline_and_what_the_agent_lost_is_let_go_of_without_an_alert():
    sync = DbSync(MemoryRows())
    agent = Agent(sync, {"/a": "1", "/b": "1"})
    agent.synchronise()
    assert [(fact.path, fact.seen, fact.size, fact.gone) for fact in agent.facts] == [
        ("/a", "baseline", 5, False),
        ("/b", "baseline", 5, False),
    ]
    agent = Agent(sync, {"/b": "1"})
    agent.synchronise()
    assert agent.facts == [FileFact(path="/a", seen="baseline", gone=True)]


def event(kind: str, path: str, content: str) -> bytes:
    attributes = {"type": "file", "checksum": sha1(path + content)}
    return json.dumps({"type": "event", "data": {"path": path, "type": kind, "attributes": attributes}}).encode()


def test_events_change_rows_so_that_nothing_is_asked_after_them():
    sync = DbSync(MemoryRows())
    for message in (
        event("added", "/a", "1"),
        event("added", "/b", "1"),
        event("modified", "/a", "2"),
        event("deleted", "/b", "1"),
    ):
        sync.told(AGENT, message)
    agent = Agent(sync, {"/a": "2"})
    agent.synchronise()
    assert agent.sent == 1
    older = Agent(sync, {"/a": "2"}, component="syscheck")
    older.synchronise()
    assert older.sent == 1, "agents before 4.4 or so call the same rows otherwise"
    for nothing in (b"{", b"[]", b'{"type":"scan_start"}', event("added", "", "1"), b'{"type":"event"}'):
        sync.told(AGENT, nothing)


def test_the_registry_has_keys_of_its_own():
    rows = MemoryRows()
    sync = DbSync(rows)
    agent = Agent(sync, {}, component="fim_registry_value")
    data = {
        "index": "0a1b",
        "version": 3,
        "path": "HKEY_LOCAL_MACHINE\\Software",
        "arch": "[x64]",
        "value_name": "run",
        "attributes": {"type": "registry_value", "checksum": sha1("1")},
    }
    assert agent.say("state", **data) == b""
    assert [(fact.path, fact.kind) for fact in agent.facts] == [
        ("[x64] HKEY_LOCAL_MACHINE\\Software\\\\run", "value"),
    ]
    assert rows.rows["fim_registry_value", b"0a1b"].path == agent.facts[0].path


def test_bounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dbsync, "MAX_ROWS", 2)
    monkeypatch.setattr(dbsync, "ROWS_A_MINUTE", 4)
    sync = DbSync(MemoryRows())
    agent = Agent(sync, {"/a": "1", "/b": "1", "/c": "1"})
    agent.synchronise()
    assert [fact.path for fact in agent.facts] == ["/a", "/b"]
    wrong = {"begin": "/a", "end": "/c", "checksum": "0" * 40}
    assert agent.say("integrity_check_global", **wrong)
    assert agent.say("integrity_check_global", **wrong)
    assert not agent.say("integrity_check_global", **wrong), "it may look through 4 rows a minute"
    assert agent.say("integrity_check_global", now_s=60.0, **wrong)


@pytest.mark.parametrize(
    "message",
    [
        b"{",
        b"[]",
        b'{"component":"fim_file"}',
        b'{"component":"syscollector_packages","type":"integrity_clear"}',
        b'{"component":"fim_file","type":"dance","data":{}}',
        b'{"component":"fim_file","type":"integrity_check_left","data":{"checksum":"12"}}',
        b'{"component":"fim_file","type":"integrity_check_left","data":{"checksum":12}}',
        b'{"component":"fim_file","type":"state","data":{}}',
        b'{"component":"fim_file","type":"state","data":{"index":"' + b"x" * 4097 + b'"}}',
        b'{"component":"fim_file","type":"state","data":{"index":"\\ud800"}}',
        b'{"a":' * 100_000,
    ],
)
def test_malformed(message: bytes):
    with pytest.raises(RemoteProtocolError):
        read_message(message)


def test_a_row_without_a_checksum_is_malformed():
    with pytest.raises(RemoteProtocolError):
        DbSync(MemoryRows()).take(
            AGENT, b'{"component":"fim_file","type":"state","data":{"index":"/a","attributes":{"checksum":7}}}', 0
        )


@given(st.binary())
def test_hostile(message: bytes):
    sync = DbSync(MemoryRows())
    sync.told(AGENT, message)
    with contextlib.suppress(RemoteProtocolError):
        sync.take(AGENT, message, 0)
