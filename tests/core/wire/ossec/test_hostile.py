"""Whatever somebody with a key sends, from the datagram to what the syscheck store does with it: nothing raises."""

import json
import os

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hids.core.syscheck.change import compare, remembered
from hids.core.wire.lines import unpack
from hids.core.wire.ossec.arrivals import arrival
from hids.core.wire.ossec.book import Book, encode_group, entries_in
from hids.core.wire.ossec.cipher import Keyring, Method
from hids.core.wire.ossec.counters import following
from hids.core.wire.ossec.datagram import seal
from hids.core.wire.ossec.keys import ClientKey, encryption_key
from hids.core.wire.ossec.manager import Limits, OldManager, Route
from hids.core.wire.ossec.message import Counters, Message
from hids.messages.legacy import LegacyAgent
from hids.messages.syscheck import FileFact
from hids.messages.terms import Agent, AgentId

KNOWN = LegacyAgent(Agent(AgentId("001"), "web1", "any"), "001", "any", "k" * 64)
RING = Keyring(encryption_key(ClientKey("001", "web1", "any", "k" * 64)))
NOW_MS = 1_700_000_000_000

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
attributes = st.dictionaries(
    st.sampled_from(["type", "size", "perm", "uid", "gid", "mtime", "inode", "hash_md5", "user_name"]), values
)
changes = st.fixed_dictionaries(
    {"path": st.text(max_size=8), "type": st.sampled_from(["added", "modified", "deleted"])},
    optional={"attributes": attributes, "old_attributes": attributes, "content_changes": st.text(max_size=8)},
).map(lambda change: json.dumps({"type": "event", "data": change}).encode())
sums = st.builds(
    lambda fields, path: ":".join(fields).encode() + b" " + path,
    st.lists(st.integers(0, 2**70).map(str) | st.sampled_from(["", "xxx", "a" * 32]), min_size=6, max_size=7),
    st.binary(max_size=12),
)
starts = st.sampled_from(
    [
        *(b"", b"1:x:", b"8:syscheck:", b"8:syscheck-registry:", b"9:rootcheck:", b"f:EventChannel:", b"z:x:"),
        *(b"#!-", b"#!-agent startup ", b"#!-req ", b"5:a:"),
    ]
)
payloads = st.tuples(starts, st.one_of(st.binary(max_size=60), changes, sums)).map(b"".join).filter(bool)


@settings(max_examples=300)
@example([b"8:syscheck:-1 \x80"])
@example([b"8:syscheck:1:4294967296:0:0:x:y /x"])
@given(st.lists(payloads, min_size=1, max_size=4))
def test_whatever_somebody_with_a_key_sends(sent: list[bytes]):
    manager = OldManager(Counters(1, 0), os.urandom, "boss", Limits())
    manager.know([KNOWN])
    number = Counters(0, 0)
    for payload in sent:
        number = following(number)
        body = seal(Message(payload, number, 1), RING, Method.OSSEC_AES, os.urandom, "001")
        assert manager.receive(body, Route("192.0.2.7", 4000), 1.0) is None
    manager.tick(2.0)
    lines = [line for _, event in manager.events for line in arrival(event, NOW_MS, complete=True).lines]
    group = Book().group({AgentId("001"): (KNOWN.agent, lines)} if lines else {}, {}, {}, 1, NOW_MS)
    before: FileFact | None = None
    for entry in entries_in(encode_group(group)):
        for line in unpack(entry.batch.data, entry.batch.count):
            if line.kind == "syscheck":
                fact = msgspec.msgpack.decode(line.text, type=FileFact)
                compare(before, fact)
                before = remembered(before, fact)
