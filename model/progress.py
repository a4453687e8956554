"""How far the making of a candidate has come, as told to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

OnProgress = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """One report; a callback that gets it may raise ``TrainingCancelled`` to end the work.

    Parameters
    ----------
    stage
        ``"preparing"``, ``"training"``, ``"exporting"``, ``"calibrating"``, ``"evaluating"`` or
        ``"storing"``.
    fraction
        Done of the whole work, in [0, 1].
    iteration, iterations
        Optimiser steps done, and planned; 0 outside the training.
    loss
        Mean of the last steps; None outside the training.
    message
        What a person should read, such as why a training stopped early.
    ap50
        Of the last look at images that are not learned from (see ``model.training.looks``); None:
        none yet.
    """

    stage: str
    fraction: float
    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    message: str = ""
    ap50: float | None = None


def ignore(progress: Progress) -> None:
    """Be told, and do nothing."""


def ignore_note(note: str) -> None:
    """Be told what should be known of a result, and do nothing."""


def part_of(on_progress: OnProgress, start: float, end: float) -> OnProgress:
    """Return a callback for a part of the work: its 0 to 1 becomes ``start`` to ``end``."""

    def report(progress: Progress) -> None:
        on_progress(replace(progress, fraction=start + progress.fraction * (end - start)))

    return report
