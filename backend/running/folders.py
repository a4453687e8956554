"""Which project each folder of images has, also once the folder was moved."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backend.datasets.pairing import find_images
from backend.services import Services
from backend.store.projects import Project
from model.atomic import write_json

FOLDERS_FILE = "folders.json"


@dataclass(frozen=True)
class Alike:
    """A project that has more than half of a folder's images.

    Parameters
    ----------
    shared, images
        How many it has, of how many in the folder.
    moved_from
        Its own folder, where that is not there any more and held hardly anything else; else empty.
    """

    project: Project
    shared: int
    images: int
    moved_from: str = ""


def known_folders(home: Path) -> dict[str, int]:
    """Return the project of each folder that was opened, by its absolute path."""
    path = home / FOLDERS_FILE
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def keep_folder(home: Path, folder: Path, project: int, moved_from: str = "") -> None:
    """Keep whose folder this is; the one that it was moved from is nobody's any more."""
    known = known_folders(home)
    known.pop(moved_from, None)
    write_json(home / FOLDERS_FILE, known | {str(folder): project})


def find_alike(services: Services, folder: Path, present: Container[int]) -> Alike | None:
    """Return the project that has most of a folder's images, first one whose folder was moved.

    Raises
    ------
    BadRequest
        The folder holds no image.
    """
    theirs = {
        project: {i.sha256 for i in services.images.all(project.id) if i.task is not None}
        for project in services.projects.all()
        if project.id in present
    }
    own = set(_hashes(folder)) if any(theirs.values()) else set()
    known = known_folders(services.settings.home)
    found = []
    for project, images in theirs.items():
        shared = len(own & images)
        if 2 * shared > len(own):
            gone = [path for path, id in known.items() if id == project.id and not _is_there(path)]
            moved_from = gone[0] if gone and 2 * shared > len(images) else ""
            found.append(Alike(project, shared, len(own), moved_from))
    return max(found, key=lambda alike: (bool(alike.moved_from), alike.shared), default=None)


def _is_there(folder: str) -> bool:
    # Unlike pathlib's, it says no of a folder that may not be looked at.
    return os.path.isdir(folder)


def _hashes(folder: Path) -> Iterator[str]:
    for path in find_images(folder, []):
        # Of a file that cannot be read the import tells.
        with suppress(OSError), path.open("rb") as file:
            yield hashlib.file_digest(file, "sha256").hexdigest()
