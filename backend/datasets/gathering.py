"""Gathers the image files that paths name, to find cells in them."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from backend.datasets.finding import (
    Others,
    find_images,
    images_in,
    leads_nowhere,
    others_in,
    to_look_at,
)
from backend.datasets.naming import is_utf8
from backend.errors import BadRequest
from model.wording import first_of


@dataclass(frozen=True)
class Gathered:
    """The image files that paths name.

    Parameters
    ----------
    misnamed
        A sentence on each one left out because its name cannot be written or it is a picture of
        ours.
    unnamed
        The left-out files whose name cannot be written.
    others
        What each folder contains beside its images.
    """

    files: tuple[Path, ...]
    misnamed: tuple[str, ...]
    unnamed: tuple[Path, ...]
    others: tuple[Others, ...]

    @property
    def notes_on_others(self) -> list[str]:
        """What lies beside the images, in sentences; they name the folder if there are several."""
        several = len(self.others) > 1
        return [note for each in self.others for note in each.notes(several)]


def gather(paths: Collection[Path]) -> Gathered:
    """Return the image files that the paths name: files themselves, and the images of folders.

    Raises
    ------
    BadRequest
        A path does not exist, a folder has no images, or all images are left out.
    """
    files, misnamed, others = dict[str, Path](), list[str](), list[Others]()
    unnamed = list[Path]()
    for path in paths:
        if path.is_file() or leads_nowhere(path):
            given = [path]
            found, left_out = to_look_at(given)
        elif not path.exists():
            raise BadRequest(f"{path} is not there; give an image or a folder that exists.")
        else:
            given = images_in(path)
            found, left_out = find_images(path)
            others.append(others_in(path, paths))
        misnamed += left_out
        unnamed += [file for file in given if not is_utf8(file.name)]
        for file in found:
            # Only the folder is resolved: links to one file are separate images, as copies are.
            files.setdefault(os.path.join(os.path.realpath(file.parent), file.name), file)
    if not files:
        raise BadRequest("\n  ".join(["There is no image to look at:", *first_of(misnamed)]))
    return Gathered(tuple(files.values()), tuple(misnamed), tuple(unnamed), tuple(others))
