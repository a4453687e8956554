"""A labelled folder as commands read it: how far that is, and what was odd, is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backend.cli.console import progress, say, warn
from backend.cli.options import parse_mapping
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.datasets.folder import LabelledFolder


def read_folder(
    images: Path,
    annotations: Path,
    mapping: list[str] | None,
    classes: list[str] | tuple[str, ...] | None,
    one_based: bool,
    tell: bool = True,
    whose: str = "",
    or_else: str = "",
) -> LabelledFolder:
    """Read a labelled folder, showing how far it is and, unless told not to, what was odd."""
    from backend.datasets.folder import labelled_folder

    renamed = parse_mapping(mapping or [])
    with progress("Reading") as advance:
        folder = labelled_folder(
            images,
            annotations,
            renamed,
            classes,
            one_based,
            on_progress=lambda done, total: advance(done / total, f"{done} of {total} images"),
            whose=whose,
            or_else=or_else,
        )
    if tell:
        _tell_what_is_odd(folder)
    boxes = counted(sum(len(image.boxes) for image in folder.images), "box")
    known = ", ".join(folder.classes) or "no class"
    say(f"{counted(len(folder.images), 'image')}, {boxes}: {known}")
    return folder


def _tell_what_is_odd(folder: LabelledFolder) -> None:
    from model.labels.label_guard import summary

    warn([*folder.notes, *folder.notes_on_aside])
    if folder.aside:
        say(f"{summary(folder.aside)}: set aside, neither learned from nor judged by.")
