"""The queue survives its process, knows what it has, and shares out what is gathered."""

from pathlib import Path

import pytest

from hids.adapters.outputs.mailqueue import KEPT, URGENT_EACH, MailQueue, Waiting
from hids.errors import StoreError

NOW = 1_700_000_000_000


def waiting(number: int, level: int = 5, thread: str = "") -> Waiting:
    return Waiting(f"007-1-{number}", number, level, str(level), "text", thread, b"%d" % number)


def add(queue: MailQueue, *alerts: Waiting, each: bool = False) -> None:
    queue.add(" ".join(alert.id for alert in alerts), alerts, 12, NOW, each=each)


def test_what_is_in_it_is_there_for_the_next_life_and_not_taken_twice(tmp_path: Path):
    queue = MailQueue(tmp_path / "q")
    token = queue.token
    add(queue, waiting(1), waiting(2))
    queue.close()
    queue = MailQueue(tmp_path / "q")
    add(queue, waiting(1), waiting(2))
    add(queue, waiting(2), waiting(3))
    assert queue.gathered() == (3, NOW, ("",))
    assert queue.token == token
    queue.make(NOW, each=False, by_thread=False)
    mail = queue.next()
    assert mail is not None
    assert mail.alerts == (b"1", b"2", b"3")
    assert queue.next() == mail
    queue.sent(mail, "s", NOW)
    assert queue.next() is None
    assert queue.made_ms(NOW) == [NOW]
    add(queue, waiting(2), waiting(3))
    assert queue.gathered()[0] == 0
    add(queue, waiting(1), waiting(2))
    assert queue.gathered()[0] == 2, "a ledger that was restored numbers others alike"
    queue.close()


def test_urgent_ones_go_first_each_alone_unless_they_are_many(tmp_path: Path):
    queue = MailQueue(tmp_path / "q")
    add(queue, waiting(1))
    queue.make(NOW, each=True, by_thread=False)
    add(queue, waiting(2, 12), waiting(3, 12), each=True)
    add(queue, *(waiting(n, 12) for n in range(10, 11 + URGENT_EACH)), each=True)
    found = []
    while (mail := queue.next()) is not None:
        found.append(len(mail.alerts))
        queue.sent(mail, "s", NOW)
    assert found == [1, 1, URGENT_EACH + 1, 1]
    assert queue.made_ms(NOW) == [NOW]
    queue.close()


def test_of_very_many_the_highest_are_kept_and_the_others_counted(tmp_path: Path):
    queue = MailQueue(tmp_path / "q")
    for first in range(1, 1001, 100):
        add(queue, *(waiting(n, 9 if n > 990 else 5 if n % 2 else 3) for n in range(first, first + 100)))
    assert queue.gathered()[0] == KEPT
    assert queue.counted() == 1000 - KEPT
    queue.make(NOW, each=False, by_thread=False)
    mail = queue.next()
    assert mail is not None
    assert mail.alerts[-10:] == tuple(b"%d" % n for n in range(991, 1001))
    assert sum(row.count for row in mail.more) == 1000 - KEPT
    assert {row.level for row in mail.more} == {3, 5}
    queue.close()


def test_threads_are_mailed_apart_and_remembered(tmp_path: Path):
    queue = MailQueue(tmp_path / "q")
    add(queue, waiting(1, thread="a"), waiting(2, thread="b"), waiting(3, thread="a"))
    queue.make(NOW, each=False, by_thread=True)
    mail = queue.next()
    assert mail is not None
    assert (mail.thread, mail.alerts) == ("a", (b"1", b"3"))
    queue.sent(mail, "the subject", NOW)
    assert queue.subject_of("a") == "the subject"
    assert queue.subject_of("b") is None
    queue.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path):
    (tmp_path / "q").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="mails that wait cannot be kept"):
        MailQueue(tmp_path / "q")
