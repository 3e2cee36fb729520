from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hids.adapters.clock import SystemClock
from hids.adapters.outbox import Outbox
from hids.adapters.outputs.file import JSON_LINES, AlertFile
from hids.workers.outputs import reopened


def test_what_main_has_not_heard_of_is_not_written_again(
    tmp_path: Path, make_lines: Callable[..., bytes], fill_outbox: Callable[..., None]
):
    """An output was killed when it had written alerts of whose commit main, which was busy, did not know yet."""
    fill_outbox(tmp_path / "ledger.db", [make_lines(1, 3), make_lines(4, 3)])
    path = tmp_path / "alerts.json"

    def opener(newest: int) -> AlertFile:
        return AlertFile(path, JSON_LINES, newest, SystemClock())

    with closing(Outbox(tmp_path / "ledger.db")) as outbox:
        for heard in (6, 3, 0):
            destination = reopened(opener, outbox, heard)
            destination.append(outbox.read(destination.number))
            destination.close()
    assert path.read_bytes() == make_lines(1, 6)
