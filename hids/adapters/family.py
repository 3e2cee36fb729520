"""A child process that does not outlive its parent."""

import ctypes
import os
import signal
import sys

EX_SOFTWARE = 70
"""Exit status of a process whose parent was gone before it began (sysexits.h)."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent ends (Linux only).

    Args:
        parent: process id of who started it; when that is gone already, this process ends at once.
        number: SIGKILL, or what its handler needs to end in order.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(EX_SOFTWARE)
