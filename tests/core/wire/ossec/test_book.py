import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hids.core.wire.lines import GENESIS, link, unpack
from hids.core.wire.ossec.book import Book, Group, Mark, encode_group, entries_in
from hids.core.wire.ossec.counters import Seen
from hids.core.wire.ossec.message import Counters
from hids.messages.lane import Progress
from hids.messages.lines import MAX_BATCH_PACKED, LogLine
from hids.messages.terms import Agent, AgentId

ONE = Agent(AgentId("001"), "web1", "any")
TWO = Agent(AgentId("002"), "web2", "any")
NOW_MS = 1_700_000_000_000


def lines(count: int, text: bytes = b"x") -> list[LogLine]:
    return [LogLine("/var/log/x", text, NOW_MS, NOW_MS) for _ in range(count)]


def group(book: Book, committed: dict[str, Progress] | None = None, **counts: int) -> Group:
    agents = {"one": ONE, "two": TWO}
    said = {agents[name].id: (agents[name], lines(count)) for name, count in counts.items()}
    return book.group(said, {}, committed or {}, 7, NOW_MS)


def test_batches_follow_one_another_and_are_chained():
    book, chain, following = Book(), GENESIS, 1
    for count in (3, 600, 1):
        made = group(book, one=count)
        book.enter(made)
        for entry in made.entries:
            assert entry.batch.first_seq == following
            assert entry.before == chain
            chain = link(chain, entry.batch.data)
            assert entry.batch.chain == chain
            assert len(unpack(entry.batch.data, entry.batch.count)) == entry.batch.count
            following = entry.last + 1
    assert book.mark(ONE.id).seq == 604


def test_what_is_not_durable_has_no_number():
    book = Book()
    first, again = group(book, one=3), group(book, one=4)
    assert first.entries[0].batch.first_seq == again.entries[0].batch.first_seq == 1


def test_the_book_is_read_from_its_records():
    book, copy = Book(), Book()
    copy.read(book.head())
    for counts in ({"one": 2}, {"one": 1, "two": 5}):
        made = group(book, **counts)
        book.enter(made)
        copy.read(encode_group(made))
    from_head = Book()
    from_head.read(book.head())
    for agent in (ONE.id, TWO.id):
        assert copy.mark(agent) == from_head.mark(agent) == book.mark(agent)
    assert copy.sent == from_head.sent == 7
    assert [entry.agent for entry in entries_in(encode_group(made))] == [ONE, TWO]
    assert entries_in(book.head()) == ()


def test_numbers_and_flags_move_without_lines():
    book = Book()
    mark = Mark(seen=Seen(Counters(3, 4), 1), complete=True, generation=2)
    made = book.group({}, {ONE.id: mark}, {}, 0, NOW_MS)
    book.enter(made)
    kept = book.mark(ONE.id)
    assert (kept.seen, kept.complete, kept.generation, kept.seq) == (mark.seen, True, 2, 0)


def test_a_new_journal_does_not_number_what_the_ledger_has():
    there = {"agent/001": Progress(epoch=NOW_MS // 1000 + 5, seq=9, chain=GENESIS)}
    (entry,) = group(Book(), there, one=1).entries
    assert (entry.batch.epoch, entry.batch.first_seq) == (NOW_MS // 1000 + 6, 1)


def test_a_restored_journal_opens_a_new_epoch():
    book = Book()
    book.enter(group(book, one=3))
    mark = book.mark(ONE.id)
    ahead = {"agent/001": Progress(epoch=mark.epoch, seq=4, chain=GENESIS)}
    (entry,) = group(book, ahead, one=1).entries
    assert (entry.batch.epoch, entry.batch.first_seq) == (mark.epoch + 1, 1)
    behind = {"agent/001": Progress(epoch=mark.epoch, seq=2, chain=GENESIS)}
    (entry,) = group(book, behind, one=1).entries
    assert (entry.batch.epoch, entry.batch.first_seq) == (mark.epoch, 4)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=12))
def test_no_batch_is_too_large(sizes: list[int]):
    texts = [random.Random(size).randbytes(size) for size in sizes]  # noqa: S311 - what does not deflate
    made = Book().group({ONE.id: (ONE, [lines(1, text)[0] for text in texts])}, {}, {}, 0, NOW_MS)
    assert sum(entry.batch.count for entry in made.entries) == len(texts)
    assert all(len(entry.batch.data) <= MAX_BATCH_PACKED for entry in made.entries)
