"""A full disk: nothing is lost, nothing is doubled, and it goes on by itself when there is room again."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.fault,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs"),
]

LINES = 500
"""At a time."""
LINES_MAX = 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "m"
    folder.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    yield folder
    subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take all the room there is; once more what others have left since."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk(small_disk: Path, stand: Stand):
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    filler = small_disk / "filler"
    fill(filler)
    written = 0

    def met() -> bool:
        """Write until there is no room: a log that was folded back holds some lines more, and a lane that ends makes room."""
        nonlocal written
        fill(filler)
        if written < LINES_MAX:
            with log.open("a") as file:
                for number in range(written, written + LINES):
                    file.write(
                        failed_login(f"u{number}", f"198.{51 + number // 62_500}.{number // 250 % 250}.{number % 250}")
                    )
            written += LINES
        # Not the lane's count of restarts: when its branch starts anew, that begins at zero.
        return stand.manager is not None and "make room or mend the disk" in stand.manager.output()

    wait_for(met, "the lane meets the full disk")
    filler.unlink()
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= written, "all lines are committed")
    wait_for(lambda: len([a for a in stand.alerts() if "Failed password" in a["full_log"]]) >= written, "every alert")
    logs = [alert["full_log"] for alert in stand.alerts() if "Failed password" in alert["full_log"]]
    assert len(logs) == len(set(logs)) == written
    wait_for(stand.whole, "the tree is whole again")
