"""What the sweep over kill points sees in a trace, and that whatever is wrong shows."""

from collections import Counter

import pytest
from kill_points import Call, Point, Trial, calls, figures, in_turns, wrong

TRACE = r"""
7 epoll_wait(4, [{events=EPOLLIN}], 2, 165) = 1
7 recvfrom(13, "\0\0\3\27\212\244type\247outcome\246source"..., 262144, 0, NULL, NULL) = 795
8 futex(0x7f, FUTEX_WAIT_PRIVATE <unfinished ...>
7 sendto(13, "\0\0\0~\206\244type\251committed\250progress\201\251a"..., 130, 0, NULL, 0) = 130
8 <... futex resumed>) = 0
7 sendto(9, "\27\3\3\0\33\256"..., 32, 0, NULL, 0) = ?
7 +++ killed by SIGKILL +++
"""


def test_calls_are_seen_where_they_begin_and_with_what_they_send():
    assert calls(TRACE) == [
        Call("epoll_wait", ""),
        Call("recvfrom", ""),
        Call("futex", ""),
        Call("sendto", "committed"),
        Call("sendto", ""),
    ]


@pytest.mark.parametrize(
    ("told", "numbers", "balances", "expected"),
    [
        ({"a": 1, "b": 1}, [1, 2, 3], True, {}),
        ({"a": 1}, [1, 2, 3], True, {"missing": ["b"]}),
        ({"a": 1, "b": 2}, [1, 2, 3], True, {"doubled": ["b"]}),
        ({"a": 1, "b": 1}, [1, 3], True, {"gaps": [2]}),
        ({"a": 1, "b": 1}, [1, 2, 2], True, {"written_twice": [2]}),
        ({"a": 1, "b": 1}, [1, 2, 3], False, {"ledger": "does not balance"}),
    ],
)
def test_whatever_is_wrong_shows(
    told: dict[str, int], numbers: list[int], expected: dict[str, object], *, balances: bool
):
    assert wrong(["a", "b"], Counter(told), numbers, balances=balances) == expected


def test_victims_die_in_turns():
    a, b = Point("lane", "write", 1), Point("worker", "write", 1)
    lists = [[("lane", a), ("lane", b)], [("worker", b)]]
    assert list(in_turns(lists)) == [("lane", a), ("worker", b), ("lane", b)]


def test_figures_count_points_once_however_often_they_were_tried():
    point = Point("lane", "sendto", 2, "committed")
    trials = [
        Trial("lane", point, "a", met=False, right=False, committed=True, written=True, recovery_s=0.0),
        Trial("lane", point, "b", met=True, right=False, committed=False, written=False, recovery_s=3.0),
        Trial("lane", point, "c", met=True, right=True, committed=True, written=False, recovery_s=1.0),
    ]
    assert figures(trials)["lane"] == {
        "points": 1,
        "met": 1,
        "kills": 2,
        "before_commit": 1,
        "committed_not_written": 1,
        "written": 0,
        "recovery_median_s": 3.0,
        "recovery_max_s": 3.0,
    }
    assert str(point) == "sendto 2 (committed) of lane"
