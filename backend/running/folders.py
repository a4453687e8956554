"""Which project belongs to each folder of images, even after the folder was moved."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backend.datasets.finding import find_images
from backend.errors import BadSetting
from backend.services import Services
from backend.store.projects import Project
from model.atomic import write_json
from preprocessing.hashing import cached_sha256_of

FOLDERS_FILE = "folders.json"
#: A folder counts as moved if this many in ten of its and its project's images are the same.
MOVED_FROM_TENTHS = 9


@dataclass(frozen=True)
class Alike:
    """A project that has more than half of a folder's images.

    Parameters
    ----------
    shared, images
        The number of images that it has, and the number in the folder.
    moved_from
        The project's own folder, if that no longer exists and nearly all images are the same;
        otherwise empty.
    """

    project: Project
    shared: int
    images: int
    moved_from: str = ""


def known_folders(home: Path) -> dict[str, int]:
    """Return the project of each opened folder, by absolute path, the newest last.

    Raises
    ------
    BadSetting
        The file that keeps them is damaged.
    """
    path = home / FOLDERS_FILE
    try:
        kept = dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
        return {folder: int(project) for folder, project in kept.items()}
    except (ValueError, TypeError) as error:
        raise BadSetting(
            f"{path} cannot be read ({error}): delete it; then name each folder anew by --images."
        ) from error


def keep_folder(home: Path, folder: Path, project: int) -> None:
    """Keep a folder's project, beside the project's earlier folders."""
    known = known_folders(home)
    known.pop(str(folder), None)
    write_json(home / FOLDERS_FILE, known | {str(folder): project})


def project_of(services: Services, folder: Path) -> int | None:
    """Return the project of an opened folder; None if it has none.

    A project's former folder may be back, as on a disk that was unplugged. It is still the
    project's if half of its images are the project's, or if it has half of the project's images.

    Raises
    ------
    BadRequest
        A former folder has no image.
    """
    known = known_folders(services.settings.home)
    project = known.get(str(folder))
    if project is None or _folders_of(known, project)[-1] == str(folder):
        return project
    own, images = set(_hashes(folder)), _images_of(services, project)
    return project if 2 * len(own & images) >= min(len(own), len(images)) else None


def find_alike(services: Services, folder: Path, present: Container[int]) -> Alike | None:
    """Return the project with most of a folder's images, preferably one whose folder was moved.

    Raises
    ------
    BadRequest
        The folder has no image.
    """
    theirs = {
        project: _images_of(services, project.id)
        for project in services.projects.all()
        if project.id in present
    }
    own = set(_hashes(folder)) if any(theirs.values()) else set()
    known = known_folders(services.settings.home)
    found = []
    for project, images in theirs.items():
        shared = len(own & images)
        if 2 * shared > len(own):
            folders = _folders_of(known, project.id)
            is_same = 10 * shared >= MOVED_FROM_TENTHS * max(len(own), len(images))
            is_moved = folders and is_same and not any(map(_is_there, folders))
            found.append(Alike(project, shared, len(own), folders[-1] if is_moved else ""))
    return max(found, key=lambda alike: (bool(alike.moved_from), alike.shared), default=None)


def _folders_of(known: dict[str, int], project: int) -> list[str]:
    return [folder for folder, id in known.items() if id == project]


def _images_of(services: Services, project: int) -> set[str]:
    return {image.sha256 for image in services.images.all(project) if image.task is not None}


def _is_there(folder: str) -> bool:
    # Unlike pathlib's, it returns False for a folder that may not be read.
    return os.path.isdir(folder)


def _hashes(folder: Path) -> Iterator[str]:
    images, _ = find_images(folder)
    for path in images:
        # The import reports files that cannot be read.
        with suppress(OSError):
            yield cached_sha256_of(path)
