"""What a run reports: its progress, rarely enough for the store, and its notes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from sqlalchemy.exc import OperationalError

from backend.store.runs import Runs
from model.errors import TrainingCancelled
from model.progress import Progress
from model.wording import counted

log = structlog.get_logger(__name__)

#: Seconds between two writes of one stage's progress.
EVERY_S = 1.0
NOTES_SHOWN = 10


class Reporter:
    """Writes a run's progress to the store.

    Parameters
    ----------
    notes
        The run's notes from before it was cut off.
    clock
        Returns seconds that never go back.
    """

    def __init__(
        self,
        runs: Runs,
        run: int,
        notes: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.notes = list(notes)
        self._began: tuple[float, int] | None = None
        self._runs = runs
        self._run = run
        self._clock = clock
        self._written = ("", -EVERY_S)

    def __call__(self, progress: Progress) -> None:
        """Write a progress, unless it only advances a stage that was just written.

        A store that is briefly away, as while its database restarts, ends no training: the next
        progress is written when it is back.

        Raises
        ------
        TrainingCancelled
            Someone else ended the run.
        """
        stage, at = self._written
        if progress.stage == stage and not progress.message and self._clock() - at < EVERY_S:
            return
        numbers: dict[str, Any] = {"seconds_left": None}
        if progress.iterations:
            numbers = {
                "iteration": progress.iteration,
                "iterations": progress.iterations,
                "loss": progress.loss,
                "seconds_left": self._seconds_left(progress),
            }
        if progress.ap50 is not None:
            numbers["ap50"] = progress.ap50
        try:
            self.stage(progress.stage, progress.fraction, _words(progress), **numbers)
        except OperationalError as error:
            log.warning("run.progress_not_written", run=self._run, reason=str(error.orig))

    def stage(self, name: str, fraction: float, message: str = "", **numbers: Any) -> None:
        """Write what the run does now."""
        self._written = (name, self._clock())
        log.info("run.progress", run=self._run, stage=name, fraction=round(fraction, 3))
        fields = {"stage": name, "fraction": fraction, "message": message, **numbers}
        if not self._runs.progress(self._run, **fields):
            raise TrainingCancelled(f"Run {self._run} was ended from outside.")

    def _seconds_left(self, progress: Progress) -> float | None:
        """Estimate from this process's own steps: it may have begun at a checkpoint."""
        now = self._clock()
        if self._began is None:
            self._began = now, progress.iteration
        began, first = self._began
        if progress.iteration == first:
            return None
        return (
            (now - began)
            / (progress.iteration - first)
            * (progress.iterations - progress.iteration)
        )

    def note(self, text: str) -> None:
        """Keep something that a person should know once the run has ended."""
        log.warning("run.note", run=self._run, note=text)
        self.notes.append(text)

    def message(self, *sentences: str) -> str:
        """Return sentences and notes as the closing message of a run."""
        shown = self.notes[:NOTES_SHOWN]
        if len(self.notes) > NOTES_SHOWN:
            more = counted(len(self.notes) - NOTES_SHOWN, "more note")
            shown.append(f"and {more} (see the worker's log)")
        return "\n".join([*sentences, *shown])


def _words(progress: Progress) -> str:
    if progress.message or not progress.iterations:
        return progress.message
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    ap50 = "" if progress.ap50 is None else f", AP50 {progress.ap50:.3f} so far"
    return f"step {progress.iteration} of {progress.iterations}{loss}{ap50}"
