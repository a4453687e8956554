"""Allows only one `cytoloop up` for each home."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.running.errors import AlreadyRunning
from model.atomic import try_lock

FILE_NAME = "up.lock"
#: Asking whether a home is held takes its lock shared, for less than a millisecond.
TRIES, PAUSE_S = 20, 0.01


@dataclass(frozen=True)
class Holder:
    """Who holds a home, and the addresses of its loop."""

    pid: int
    label_studio: str
    dashboard: str


@contextmanager
def hold(home: Path, label_studio: str, dashboard: str) -> Iterator[None]:
    """Hold a home while the block runs; the kernel frees the lock when the process ends.

    Raises
    ------
    AlreadyRunning
        Another process holds it; the message names the process and the addresses of its loop.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / FILE_NAME).open("a+", encoding="utf-8") as file:
        if not _is_ours(file.fileno()):
            raise AlreadyRunning(_already_running(home, _read(home)))
        file.truncate(0)
        file.write(json.dumps(asdict(Holder(os.getpid(), label_studio, dashboard))))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(home: Path) -> Holder | None:
    """Return who holds a home; None if nobody does, or if holding begins or ends this instant."""
    path = home / FILE_NAME
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:  # works without the right to write, too
        return None if try_lock(file.fileno(), shared=True) else _read(home)


def _is_ours(descriptor: int) -> bool:
    """Take the lock; try again while others are only asking whether it is held."""
    for _ in range(TRIES):
        if try_lock(descriptor):
            return True
        time.sleep(PAUSE_S)
    return False


def _read(home: Path) -> Holder | None:
    text = (home / FILE_NAME).read_text("utf-8")
    return Holder(**json.loads(text)) if text else None  # empty: the holder has only just begun


def _already_running(home: Path, by: Holder | None) -> str:
    if by is None:
        return f"Cytoloop is starting on {home} already, in another terminal."
    return (
        f"Cytoloop runs on {home} already (process {by.pid}). Label Studio: {by.label_studio}, "
        f"Cytoloop: {by.dashboard}. To stop it, press Ctrl-C in its terminal or: kill {by.pid}"
    )
