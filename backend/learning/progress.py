"""What a run tells of itself: its progress, seldom enough for the store, and its notes."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from backend.store.runs import Runs
from model.errors import TrainingCancelled
from model.progress import Progress

log = structlog.get_logger(__name__)

#: Seconds between two writes of one stage's progress.
EVERY_S = 1.0
NOTES_SHOWN = 10


class Reporter:
    """Writes a run's progress to the store.

    Parameters
    ----------
    clock
        Seconds that never go back.
    """

    def __init__(self, runs: Runs, run: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.notes: list[str] = []
        self._runs = runs
        self._run = run
        self._clock = clock
        self._written = ("", -EVERY_S)

    def __call__(self, progress: Progress) -> None:
        """Write a progress, unless the last one of its stage was written just now.

        Raises
        ------
        TrainingCancelled
            When the run was ended by someone else.
        """
        stage, at = self._written
        if progress.stage == stage and self._clock() - at < EVERY_S:
            return
        self.stage(progress.stage, progress.fraction, _words(progress))

    def stage(self, name: str, fraction: float, message: str = "") -> None:
        """Write what the run does now."""
        self._written = (name, self._clock())
        log.info("run.progress", run=self._run, stage=name, fraction=round(fraction, 3))
        if not self._runs.progress(self._run, stage=name, fraction=fraction, message=message):
            raise TrainingCancelled(f"Run {self._run} was ended from outside.")

    def note(self, text: str) -> None:
        """Keep something that a person should know when the run has ended."""
        log.warning("run.note", run=self._run, note=text)
        self.notes.append(text)

    def message(self, *sentences: str) -> str:
        """Return sentences and the notes as the text that ends a run."""
        shown = self.notes[:NOTES_SHOWN]
        if len(self.notes) > NOTES_SHOWN:
            shown.append(f"and {len(self.notes) - NOTES_SHOWN} more notes (see the worker's log)")
        return "\n".join([*sentences, *shown])


def _words(progress: Progress) -> str:
    if progress.message or not progress.iterations:
        return progress.message
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    return f"step {progress.iteration} of {progress.iterations}{loss}"
