"""Where a training without a server keeps its checkpoints: called again, it goes on from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.errors import BadRequest
from backend.learning.taken import is_taken, remove, take
from backend.settings import Settings

#: Trainings that were stopped and can go on, beside the one that is called.
STOPPED_KEPT = 3


@contextmanager
def workdir(settings: Settings, *training: object) -> Iterator[Path]:
    """Hold the folder of a training for as long as the block runs.

    One that was stopped leaves its checkpoint there, for when it is called again; one that came to
    its end leaves nothing. Of others that were stopped the last few stay; what earlier ones left
    goes first.

    Parameters
    ----------
    training
        What makes it this training and no other, as JSON has it.

    Raises
    ------
    BadRequest
        Another process is at it.
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
    """Remove what trainings left that nobody is at, but for the last that were stopped."""
    folders = {path.with_suffix("") for path in trainings.glob("*")} - {but}
    stopped = [folder for folder in folders if not is_taken(folder)]
    for folder in sorted(stopped, key=_written_at, reverse=True)[STOPPED_KEPT:]:
        with take(folder) as free:
            if free:
                remove(folder)


def _written_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # its lock alone is left
        return 0.0
