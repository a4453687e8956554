"""No process outlives the one that started it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PPID_FIELD = 1  # in /proc/<pid>/stat, counted from behind the name


def die_with_parent(signal_number: int, parent: int) -> None:
    """Have the kernel send this process a signal when its parent dies, even by SIGKILL.

    Parameters
    ----------
    parent
        Process id of the parent, as the parent itself saw it: where it is gone already, the
        signal is sent at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def descendants(pid: int) -> list[int]:
    """Return the process ids of a process' children, and of theirs, whatever group they are in."""
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text("utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        children[int(after_name[PPID_FIELD])].append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children[waiting.pop()]
        found += below
        waiting += below
    return found


def kill_all(pids: list[int]) -> None:
    """End processes at once; those that are gone are no error."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
