"""Says why a run failed, in words for a person who can mend it."""

from __future__ import annotations

import errno

from backend.store import mending
from model.errors import out_of_memory

#: Signs of a cause: errno, and the words of libraries that pass no errno on (torch, safetensors).
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT), ("no space left", "file write failed")
_READ_ONLY = (errno.EROFS, errno.EACCES), ("read-only",)
#: RQ's words.
_TOO_LONG = ("exceeded maximum timeout",)


def in_words(error: Exception) -> str:
    """Say what a failure was, and what to do if the machine is the cause.

    In any case the run can be tried again, and nothing half-written was kept.
    """
    if of_store := mending.in_words(error):
        return f"{of_store} Then try the run again."
    said = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
    if _shows(error, *_DISK_FULL):
        return f"The disk is full ({said}). Make room, then try the run again."
    if _shows(error, *_READ_ONLY):
        return f"The disk cannot be written to ({said}). Mend that, then try the run again."
    if out_of_memory(error) or _shows(error, (errno.ENOMEM,), ()):
        return f"The memory is full ({said}). Make room, then try the run again."
    if _shows(error, (), _TOO_LONG):
        return f"It took longer than it may ({said}). Raise CYTOLOOP_JOB_TIMEOUT_S, then try again."
    return f"{said}."


def _shows(error: Exception, numbers: tuple[int, ...], words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return getattr(error, "errno", None) in numbers or any(word in text for word in words)
