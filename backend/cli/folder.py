"""Reads a labelled folder for a command: shows progress, and what was odd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backend.cli.console import progress, say, warn
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.datasets.drawn import Notation
    from backend.datasets.folder import LabelledFolder


def read_folder(images: Path, annotations: Path, notation: Notation) -> LabelledFolder:
    """Read a labelled folder, showing progress."""
    from backend.datasets.folder import labelled_folder

    with progress("Reading") as advance:
        return labelled_folder(
            images,
            annotations,
            notation,
            on_progress=lambda done, total: advance(done / total, f"{done} of {total} images"),
        )


def tell_what_is_odd(folder: LabelledFolder) -> None:
    """Print what was left out of a labelled folder, and what looks wrong in it."""
    from model.labels.label_guard import summary

    warn([*folder.notes, *folder.notes_on_aside])
    if folder.aside:
        say(f"{summary(folder.aside)}: set aside, neither learned from nor judged by.")


def say_what_is_there(folder: LabelledFolder) -> None:
    """Print how many images and boxes a labelled folder has, and of which classes."""
    boxes = counted(sum(len(image.boxes) for image in folder.images), "box")
    known = ", ".join(folder.classes) or "no class"
    say(f"{counted(len(folder.images), 'image')}, {boxes}: {known}")
