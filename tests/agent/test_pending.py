"""Paths wait until they are quiet; both halves of a move are taken together."""

from hids.agent.pending import MAX_SETTLE_S, SETTLE_S, Pending

A, B = ("/d", "a"), ("/d", "b")


def test_a_path_is_taken_once_it_is_quiet():
    pending = Pending()
    pending.note(A, 10.0)
    assert pending.take(10.0) == []
    pending.note(A, 10.0 + SETTLE_S / 2)
    assert pending.take(10.0 + SETTLE_S) == []
    assert pending.due_s() == 10.0 + SETTLE_S * 1.5
    assert pending.take(10.0 + SETTLE_S * 1.5) == [A]
    assert (len(pending), pending.due_s()) == (0, float("inf"))


def test_a_path_that_never_rests_is_taken_at_last():
    pending = Pending()
    now_s = 10.0
    while now_s < 10.0 + MAX_SETTLE_S:
        pending.note(A, now_s)
        assert pending.take(now_s) == []
        now_s += SETTLE_S / 2
    pending.note(A, now_s)
    assert pending.take(10.0 + MAX_SETTLE_S) == [A]


def test_both_halves_of_a_move_are_taken_together():
    pending = Pending()
    pending.note(A, 10.0, cookie=7)
    pending.note(B, 10.0, cookie=7)
    pending.note(B, 10.09)
    assert set(pending.take(10.0 + SETTLE_S)) == {A, B}
    assert len(pending) == 0


def test_half_a_move_is_taken_alone():
    pending = Pending()
    pending.note(A, 10.0, cookie=7)
    assert pending.take(11.0) == [A]
    pending.note(A, 12.0, cookie=8)
    pending.note(A, 12.0, cookie=8)
    assert pending.take(13.0) == [A]
