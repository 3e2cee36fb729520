import ctypes
import subprocess
import sys

import pytest

from hids.adapters import heap

SCRIPT = """
from pathlib import Path
from hids.adapters import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

heap.keep_in_one_arena()
held = [bytearray(2000) for _ in range(20_000)]
last = held[-1]  # above all others, so that their end alone gives nothing back
held.clear()
before = resident()
heap.give_back()
print(before - resident())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library is not glibc")
def test_what_is_free_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True)
    assert int(done.stdout) > 5_000, "most of 40 MB, in pages of 4 KiB"


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    heap.keep_in_one_arena()
    heap.give_back()
