"""Makes sure that no process outlives the one that started it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(signal_number: int, parent: int) -> None:
    """Make the kernel send this process a signal when its parent dies, even by SIGKILL.

    Parameters
    ----------
    parent
        Process id of the parent, as the parent itself saw it. If the parent is already gone, the
        signal is sent at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)
