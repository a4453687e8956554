"""Process ids: which are alive, which started which, and how to end them."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path

PPID_FIELD = 1  # in /proc/<pid>/stat, counted after the name


def is_running(pid: int | None) -> bool:
    """Tell whether a process of this machine is alive, whoever owns it."""
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def descendants(pid: int) -> list[int]:
    """Return the ids of a process' children and of theirs, whatever group they are in."""
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
    """Kill processes at once; processes already gone are no error."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
