"""Folders for checkpoints of trainings without a server, which go on from them if called again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.errors import BadRequest
from backend.learning.taken import is_taken, remove, take
from backend.settings import Settings

#: How many stopped trainings, which can go on, are kept beside the one called.
STOPPED_KEPT = 3


@contextmanager
def workdir(settings: Settings, *training: object) -> Iterator[Path]:
    """Lock the folder of a training while the block runs.

    A stopped training leaves its checkpoint there for the next call; a finished one leaves nothing.
    The last few other stopped trainings stay; earlier ones are removed first.

    Parameters
    ----------
    training
        What identifies this training, as JSON values.

    Raises
    ------
    BadRequest
        Another process works on this training.
    """
    name = hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()[:16]
    folder = settings.trainings_folder / name
    _sweep(settings.trainings_folder, but=folder)
    with take(folder) as free:
        if not free:
            raise BadRequest("Another process is at this very training: wait for it, or end it.")
        ended = False
        try:
            yield folder
            ended = True
        finally:
            if ended or not any(folder.iterdir()):
                remove(folder)


def _sweep(trainings: Path, but: Path) -> None:
    """Remove what trainings left that nobody works on, except the last stopped ones."""
    folders = {path.with_suffix("") for path in trainings.glob("*")} - {but}
    stopped = [folder for folder in folders if not is_taken(folder)]
    for folder in sorted(stopped, key=_written_at, reverse=True)[STOPPED_KEPT:]:
        with take(folder) as free:
            if free:
                remove(folder)


def _written_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # only its lock is left
        return 0.0
