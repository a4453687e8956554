"""How the C library hands memory back: not between two steps of a training that need it again."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_MOST = 2**31 - 1
_LARGE = 2**30


def keep_memory() -> None:
    """Let this process keep the memory that it frees, up to its largest need so far.

    By default glibc returns large blocks at once and the kernel zeroes their pages anew: a quarter
    of the processor time of a training step on a CPU. Does nothing where there is no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _LARGE)
    libc.mallopt(_TRIM_THRESHOLD, _MOST)
