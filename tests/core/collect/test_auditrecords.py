"""Records of audit, as the kernel writes them and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.collect.auditrecords import (
    CWD,
    EOE,
    EXECVE,
    MAX_PATHS,
    MAX_PENDING,
    PATH,
    PROCTITLE,
    SYSCALL,
    Assembler,
    AuditEvent,
    Item,
    fields_of,
    untrusted,
)

KEY = b"ours"


def record(text: str, number: int = 1) -> bytes:
    return f"audit(1795547346.584:{number}): {text}".encode()


def call(number: int = 1, key: str = '"ours"', more: str = "") -> bytes:
    return record(
        f"arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=0 items=2 ppid=5 pid=7 auid=1000 uid=1 gid=2 euid=0 "
        f'comm="sh" exe="/usr/bin/dash" {more}key={key}',
        number,
    )


def path(name: str, kind: str, number: int = 1) -> bytes:
    return record(f"item=0 name={name} inode=42 dev=fe:01 mode=0100644 nametype={kind} cap_fp=0", number)


def quoted(name: bytes) -> str:
    """As the kernel does it: hex where there is a quote or anything that is not printable ASCII."""
    if any(byte == 0x22 or not 0x21 <= byte <= 0x7E for byte in name):
        return name.hex().upper()
    return f'"{name.decode()}"'


def test_an_event_is_put_together():
    assembler = Assembler(KEY)
    for kind, text in (
        (SYSCALL, call()),
        (CWD, record('cwd="/root"')),
        (PATH, path('"/etc"', "PARENT")),
        (PATH, path("672068", "CREATE")),
        (PROCTITLE, record("proctitle=7368002D63")),
    ):
        assert assembler.take(kind, text) is None
    event = assembler.take(EOE, record(""))
    assert event == AuditEvent(
        serial=b"1795547346.584:1",
        pid=7,
        ppid=5,
        login_uid=1000,
        uid=1,
        effective_uid=0,
        gid=2,
        program=b"/usr/bin/dash",
        name=b"sh",
        first=0xFFFF_FF9C,
        succeeded=True,
        cwd=b"/root",
        command=b"sh -c",
        items=[Item(b"/etc", 42, (0xFE, 1), "PARENT"), Item(b"g h", 42, (0xFE, 1), "CREATE")],
    )
    assert assembler.take(EOE, record("")) is None


def test_events_that_mingle_are_kept_apart():
    assembler = Assembler(KEY)
    assembler.take(SYSCALL, call(1))
    assembler.take(SYSCALL, call(2))
    assembler.take(PATH, path('"a"', "CREATE", 1))
    assembler.take(PATH, path('"b"', "CREATE", 2))
    first, second = assembler.take(EOE, record("", 1)), assembler.take(EOE, record("", 2))
    assert first is not None
    assert second is not None
    assert (first.items[0].name, second.items[0].name) == (b"a", b"b")


@pytest.mark.parametrize("key", ['"theirs"', "(null)", '"ours-too"'])
def test_events_of_other_rules_are_passed_over(key: str):
    assembler = Assembler(KEY)
    assembler.take(SYSCALL, call(key=key))
    assert assembler.take(EOE, record("")) is None


def test_a_rule_among_several_is_ours():
    assembler = Assembler(KEY)
    assembler.take(SYSCALL, call(key=b"theirs\x01ours".hex()))
    assert assembler.take(EOE, record("")) is not None


def test_what_a_process_chose_says_nothing_else():
    """A name that looks like fields is a name."""
    assembler = Assembler(KEY)
    assembler.take(SYSCALL, call())
    evil = b'x" nametype=DELETE inode=1 name="/etc/passwd'
    assembler.take(PATH, path(quoted(evil), "CREATE"))
    event = assembler.take(EOE, record(""))
    assert event is not None
    assert event.items == [Item(evil, 42, (0xFE, 1), "CREATE")]


def test_a_command_line_is_put_together_from_its_arguments():
    assembler = Assembler(KEY)
    assembler.take(SYSCALL, call())
    assembler.take(EXECVE, record('argc=3 a0="rm" a1="-r" a2=612062'))
    event = assembler.take(EOE, record(""))
    assert event is not None
    assert event.command == b"rm -r a b"


def test_no_login_is_told_as_that_and_nothing_is_boundless():
    assembler = Assembler(KEY)
    first = None
    for number in range(MAX_PENDING + 1):
        first = assembler.take(SYSCALL, call(number).replace(b"auid=1000", b"auid=4294967295"))
        for _ in range(MAX_PATHS + 5):
            assembler.take(PATH, path('"a"', "CREATE", number))
    assert first is not None, "the oldest is told as it is"
    assert (first.serial, first.login_uid, len(first.items)) == (b"1795547346.584:0", -1, MAX_PATHS)


@given(st.binary(max_size=64).filter(lambda name: b"\0" not in name))
def test_any_name_comes_back(name: bytes):
    assert untrusted(fields_of(f"item=0 name={quoted(name)} inode=1".encode())[b"name"]) == name


@given(st.lists(st.tuples(st.sampled_from([SYSCALL, PATH, CWD, EXECVE, PROCTITLE, EOE, 1400]), st.binary(max_size=80))))
def test_anything_ends_in_events_or_nothing(records: list[tuple[int, bytes]]):
    assembler = Assembler(KEY)
    assembler.take(SYSCALL, call())
    for kind, text in records:
        for noise in (text, b"audit(1795547346.584:1): " + text):
            event = assembler.take(kind, noise)
            assert event is None or isinstance(event, AuditEvent)


@given(st.integers(0, 1 << 70), st.text("0123456789abcdefx:-", max_size=30))
def test_numbers_of_any_size_are_numbers(number: int, noise: str):
    assembler = Assembler(KEY)
    assembler.take(SYSCALL, call(more=f"pid={number} a0={noise} auid={noise} "))
    assembler.take(PATH, record(f"name=(null) inode={number} dev={noise} nametype={noise}"))
    event = assembler.take(EOE, record(""))
    assert event is not None
    assert event.pid in (number, 0)
