"""How far a work has come, as told to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

OnProgress = Callable[["Progress"], None]
#: Called with the fraction done, in [0, 1], and what is being done.
Advance = Callable[[float, str], None]
#: Called with the number of tiles of an image that are done, and of all.
OnTile = Callable[[int, int], None]


@dataclass(frozen=True)
class Progress:
    """One report on the making of a candidate.

    A callback that gets it may raise ``TrainingCancelled`` to end the work.

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


def ignore_advance(fraction: float, doing: str) -> None:
    """Be told how far a work has come, and do nothing."""


def ignore_tile(done: int, tiles: int) -> None:
    """Be told that a tile comes next, and do nothing."""


def tiles_of(advance: Advance, name: str, done: int, images: int) -> OnTile:
    """Return a callback for the tiles of an image, one of several that are looked at in turn.

    Parameters
    ----------
    done, images
        The number of images before this one, and of all.
    """

    def report(tile: int, tiles: int) -> None:
        advance((done + tile / tiles) / images, f"{name}, tile {tile + 1} of {tiles}")

    return report


def part_of(on_progress: OnProgress, start: float, end: float) -> OnProgress:
    """Return a callback for a part of the work: its 0 to 1 becomes ``start`` to ``end``."""

    def report(progress: Progress) -> None:
        on_progress(replace(progress, fraction=start + progress.fraction * (end - start)))

    return report
