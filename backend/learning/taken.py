"""Who is at a training: the process that holds its folder; the kernel lets go when it dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from backend.settings import Settings
from model.atomic import try_lock


@contextmanager
def take(folder: Path) -> Iterator[bool]:
    """Hold a training's or a project's folder, made when absent, for as long as the block runs.

    Redis may forget a job and a process id may be another's by now; this lock cannot be wrong, on
    a file system that all workers of one installation share.

    Returns
    -------
    False when another process holds it, or asks at this moment whether it is held.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as free:
        if free:
            folder.mkdir(exist_ok=True)
        yield free


def remove(folder: Path) -> None:
    """Remove a folder that this process holds, and what it holds it by."""
    shutil.rmtree(folder)
    _lock(folder).unlink(missing_ok=True)


def run_folder(settings: Settings, run_id: int) -> Path:
    """Return where a run keeps its snapshot, and its checkpoints while it learns."""
    return settings.runs_folder / str(run_id)


def project_folder(settings: Settings, project: int) -> Path:
    """Return what is held while a run of a project is worked on: one at a time learns for it."""
    return settings.runs_folder / f"project-{project}"


def is_taken(folder: Path) -> bool:
    """Tell whether a process holds this folder; those who ask do not take each other for one."""
    if not _lock(folder).exists():
        return False
    with _locked(folder, shared=True) as free:
        return not free


def _lock(folder: Path) -> Path:
    # Not the folder's own lock: whoever writes in it takes that (model.atomic).
    return folder.with_suffix(".lock")


@contextmanager
def _locked(folder: Path, *, shared: bool = False) -> Iterator[bool]:
    while True:
        with _lock(folder).open("a") as lock:
            free = try_lock(lock.fileno(), shared=shared)
            # Nobody who comes later would ask for one that was removed since it was opened.
            if not free or _is_there(lock):
                yield free
                return


def _is_there(lock: TextIO) -> bool:
    try:
        return os.path.samestat(os.stat(lock.name), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False
