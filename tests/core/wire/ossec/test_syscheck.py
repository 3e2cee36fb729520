import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hids.core.syscheck.change import compare, remembered
from hids.core.wire.ossec.arrivals import arrival
from hids.core.wire.ossec.departures import departures, is_change
from hids.core.wire.ossec.events import OldEvent, read_event
from hids.core.wire.ossec.message import MAX_OSSEC_PAYLOAD
from hids.core.wire.ossec.syscheck import encode_sum, read_json, read_sum
from hids.errors import RemoteProtocolError
from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact, Who

MD5, SHA1, SHA256 = "a" * 32, "b" * 40, "c" * 64


def fact(message: str, *, complete: bool = True) -> FileFact:
    found = read_sum(message.encode("utf-8", "surrogateescape"), complete=complete)
    assert found is not None
    return found


def test_a_file_of_ossec():
    assert fact(f"12:33261:0:5:{MD5}:{SHA1}:{SHA256} /etc/a b\n1c1\n< x") == FileFact(
        path="/etc/a b",
        seen="scan",
        size=12,
        mode=0o755,
        gid=5,
        md5=MD5,
        sha1=SHA1,
        sha256=SHA256,
        diff="1c1\n< x",
    )


def test_older_agents_switched_off_attributes_and_windows():
    assert fact(f"12:33188:0:0:{MD5}:{SHA1} /x", complete=False) == FileFact(
        path="/x", seen="baseline", size=12, mode=0o644, md5=MD5, sha1=SHA1
    )
    assert fact("0:0:0:0:xxx:xxx:xxx /x") == FileFact(path="/x", seen="scan")
    assert fact(f"1:33206:S-1-5-18:0:{MD5}:{SHA1} C:\\x").user == "S-1-5-18"
    assert fact("-1 /x") == FileFact(path="/x", seen="scan", gone=True)
    assert read_sum(f"0:0:0:0:{MD5}:{SHA1} HKLM\\x".encode(), complete=True, registry=True) == FileFact(
        path="HKLM\\x", seen="scan", kind="other", md5=MD5, sha1=SHA1
    )


@pytest.mark.parametrize("message", [b"syscheck-db-completed", b"CreateFile=5 C:\\x", b"GetSecurityInfo=5 C:\\x"])
def test_what_is_no_news_of_a_file(message: bytes):
    assert read_sum(message, complete=True) is None


@pytest.mark.parametrize("message", [b"", b"1:2 /x", b"1:2:3:4:5:6:7:8 /x", b"nonsense", b"-1 ", b"-1 " + b"x" * 5000])
def test_what_is_malformed(message: bytes):
    with pytest.raises(RemoteProtocolError):
        read_sum(message, complete=True)


@given(st.binary(max_size=200))
def test_any_sum_is_read_or_refused(message: bytes):
    with contextlib.suppress(RemoteProtocolError):
        read_sum(message, complete=True)


def changes(*messages: str) -> list[str]:
    """What the syscheck store would tell of these, one after the other."""
    before: FileFact | None = None
    told = []
    for message in messages:
        now = fact(message, complete=before is not None)
        change = compare(before, now)
        told.append(change.text.partition("\n")[0] if change else "")
        before = remembered(before, now)
    return told


def test_sums_that_differ_only_in_what_is_unknown_are_no_change():
    seven, six, none = (f"1:33188:0:0:{hashes} /x" for hashes in (f"{MD5}:{SHA1}:{SHA256}", f"{MD5}:{SHA1}", "xxx:xxx"))
    assert changes(seven, six, seven, none, seven) == ["", "", "", "", ""]


def test_a_hash_that_was_unknown_for_once_is_still_compared():
    assert changes(f"1:33188:0:0:{MD5}:{SHA1} /x", "1:33188:0:0:xxx:xxx /x", f"1:33188:0:0:{'f' * 32}:{SHA1} /x") == [
        *("", "", "File '/x' modified: md5"),
    ]


def test_what_changed_inside_is_told_and_cannot_pass_for_our_words():
    change = compare(fact(f"1:33188:0:0:{MD5}:{SHA1} /x"), fact(f"2:33188:0:0:{MD5}:{SHA1} /x\nPermissions changed"))
    assert change is not None
    assert change.text.endswith("\nWhat changed:\n  Permissions changed")
    assert json.loads(b"{" + change.facts + b"}")["syscheck"]["diff"] == "Permissions changed"


def wazuh(kind: str, **data: Any) -> bytes:
    return json.dumps({"type": "event", "data": {"path": "/x", "mode": "realtime", "type": kind, **data}}).encode()


NOW = {
    "type": "file",
    "size": 12,
    "perm": "rwsr-xr-t",
    "uid": "0",
    "gid": "5",
    "user_name": "root",
    "inode": "77",
    "mtime": 1_700_000_000,
    "hash_md5": MD5,
    "hash_sha256": SHA256,
}


def test_wazuh_tells_what_was_before():
    before, now = read_json(wazuh("modified", attributes=NOW, old_attributes={**NOW, "size": 11}))
    assert (before.seen, before.size) == ("baseline", 11)
    assert now == FileFact(
        path="/x",
        seen="live",
        size=12,
        mode=0o5755,
        gid=5,
        user="root",
        inode=77,
        mtime_ns=1_700_000_000_000_000_000,
        md5=MD5,
        sha256=SHA256,
    )
    before, added = read_json(wazuh("added", attributes=NOW, mode="scheduled"))
    assert (before.seen, before.gone, added.seen) == ("baseline", True, "scan"), "new, whatever was known"
    there, gone = read_json(wazuh("deleted", attributes=NOW))
    assert (there.seen, gone.gone) == ("baseline", True)
    assert read_json(b'{"type":"scan_start","data":{"timestamp":1}}') == ()


def test_wazuhs_attributes_that_one_side_has_only_did_not_change():
    before, now = read_json(wazuh("modified", attributes={"size": 12, "uid": "7"}, old_attributes={"size": 11}))
    assert (before.size, before.uid) == (11, 7)
    assert (now.size, now.uid) == (12, 7)
    before, now = read_json(wazuh("modified", attributes={"size": 12}, old_attributes={"size": 11, "uid": "7"}))
    assert (before.uid, now.uid) == (7, 7)


def test_wazuhs_who_data():
    audit = {
        "user_id": "1000",
        "user_name": "joe",
        "audit_uid": "1001",
        "audit_name": "ann",
        "effective_uid": "0",
        "effective_name": "root",
        "group_id": "5",
        "group_name": "tty",
        "process_id": 42,
        "process_name": "/usr/bin/vi" + "i" * 600,
        "cwd": "/root",
        "ppid": 41,
        "parent_name": "/bin/sh",
    }
    _, now = read_json(wazuh("modified", attributes=NOW, audit=audit, mode="whodata"))
    assert now.who == Who(
        pid=42,
        uid=1000,
        user="joe",
        effective_uid=0,
        effective_user="root",
        login_uid=1001,
        login_user="ann",
        gid=5,
        group="tty",
        process=("/usr/bin/vi" + "i" * 600)[:512],
        cwd="/root",
        ppid=41,
        parent="/bin/sh",
    )
    _, gone = read_json(wazuh("deleted", attributes=NOW, audit={"user_id": "S-1-5-18", "process_id": [], "cwd": 7}))
    assert gone.who == Who(pid=0)


def test_wazuhs_registry_has_paths_of_its_own():
    _, value = read_json(wazuh("added", attributes={"type": "registry_value"}, arch="[x64]", value_name="run"))
    assert (value.path, value.kind) == ("[x64] /x\\\\run", "value")


@pytest.mark.parametrize(
    "message", [b"{", b"[]", b'{"type":1}', wazuh("exploded"), wazuh("added", path=""), b'{"type":"event"}']
)
def test_malformed_json(message: bytes):
    with pytest.raises(RemoteProtocolError):
        read_json(message)


attributes = st.dictionaries(
    st.sampled_from(list(NOW)), st.one_of(st.text(max_size=9), st.integers(), st.none(), st.lists(st.integers()))
)


@example("added", {"mtime": 18_446_744_074, "inode": 10**14, "size": 10**14}, {})
@given(st.sampled_from(["added", "modified", "deleted"]), attributes, attributes)
def test_odd_attributes_do_no_harm(kind: str, now: dict[str, Any], before: dict[str, Any]):
    for found in read_json(wazuh(kind, attributes=now, old_attributes=before)):
        msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=FileFact)


def test_a_bottomless_json_is_refused():
    with pytest.raises(RemoteProtocolError):
        read_json(b'{"data":' + b"[" * 60_000)


@given(st.binary(max_size=60))
def test_any_path_can_be_kept(path: bytes):
    for line in arrival(OldEvent("8", "syscheck", b"-1 " + path), 5, complete=True).lines:
        assert msgspec.msgpack.decode(line.text, type=FileFact).path == path.partition(b"\n")[0].decode(
            errors="backslashreplace"
        )


def test_what_events_become():
    def lines(payload: bytes, *, complete: bool = False) -> list[tuple[str, str, bytes]]:
        came = arrival(read_event(payload), 5, complete=complete)
        return [(line.kind, line.location, line.text) for line in came.lines]

    assert lines(b"1:/var/log/x:text") == [("log", "/var/log/x", b"text")]
    assert lines(b"9:rootcheck:found") == [("rootcheck", "rootcheck", b"found")]
    assert lines(b"f:EventChannel:{}") == [("eventchannel", "EventChannel", b"{}")]
    assert lines(b"5:fim_file:{}") == []
    assert lines(b'p:sca:{"type":"check"}') == [("sca", "sca", b'{"type":"check"}')]
    ((kind, _, packed),) = lines(b"8:syscheck:-1 /x", complete=True)
    assert (kind, msgspec.msgpack.decode(packed, type=FileFact).gone) == ("syscheck", True)
    assert len(lines(b"8:syscheck:" + wazuh("modified", attributes=NOW))) == 2
    assert arrival(OldEvent("8", "syscheck", b"syscheck-db-completed"), 5, complete=False).completed
    assert arrival(OldEvent("8", "syscheck", b"nonsense"), 5, complete=False).dropped
    assert arrival(OldEvent("z", "x", b"text"), 5, complete=False).dropped.startswith("unknown queue")


paths = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=40)


@given(
    st.builds(
        FileFact,
        path=paths,
        seen=st.just("scan"),
        size=st.integers(0, 10**12),
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 2**31),
        gid=st.integers(0, 2**31),
        md5=st.sampled_from(["", MD5]),
        sha256=st.sampled_from(["", SHA256]),
    )
)
def test_our_facts_arrive_at_an_ossec_manager(ours: FileFact):
    assert read_sum(encode_sum(ours), complete=True) == ours


def test_our_lines_for_an_ossec_manager():
    def line(kind: Any, text: bytes, location: str = "/var/log/x") -> LogLine:
        return LogLine(location, text, 1, 1, kind)

    assert departures(line("log", b"a\0b")) == [b"1:/var/log/x:a b"]
    assert departures(line("rootcheck", b"found")) == [b"9:rootcheck:found"]
    ending = line("rootcheck", b'Ending rootcheck scan. {"seen":[]}')
    assert departures(ending) == [b"9:rootcheck:Ending rootcheck scan."]
    packed = msgspec.msgpack.encode(FileFact("/x", "scan", gone=True))
    assert departures(line("syscheck", packed)) == [b"8:syscheck:-1 /x"]
    assert is_change(line("syscheck", packed))
    assert not is_change(line("syscheck", msgspec.msgpack.encode(FileFact("/x", "baseline"))))
    assert len(departures(line("log", b"x" * 70_000))[0]) == MAX_OSSEC_PAYLOAD
