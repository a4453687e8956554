"""Locks a training's folder for the process that works on it; the kernel frees it on death."""

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
    """Lock a training's or a project's folder, made if missing, while the block runs.

    Redis may forget a job, and a process id may belong to another process by now. This lock cannot
    be wrong, on a file system that all workers of an installation share.

    Returns
    -------
    Yields False if another process holds the lock, or is just asking whether it is held.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as free:
        if free:
            folder.mkdir(exist_ok=True)
        yield free


def remove(folder: Path) -> None:
    """Remove a folder that this process has locked, and its lock."""
    shutil.rmtree(folder)
    _lock(folder).unlink(missing_ok=True)


def run_folder(settings: Settings, run_id: int) -> Path:
    """Return the folder of a run's snapshot and, while it learns, its checkpoints."""
    return settings.runs_folder / str(run_id)


def project_folder(settings: Settings, project: int) -> Path:
    """Return the folder that a run locks for its project: one run at a time learns for it."""
    return settings.runs_folder / f"project-{project}"


def is_taken(folder: Path) -> bool:
    """Tell whether a process has locked this folder; asking is not mistaken for holding."""
    if not _lock(folder).exists():
        return False
    with _locked(folder, shared=True) as free:
        return not free


def _lock(folder: Path) -> Path:
    # Not the folder's own lock, which writers in it take (model.atomic).
    return folder.with_suffix(".lock")


@contextmanager
def _locked(folder: Path, *, shared: bool = False) -> Iterator[bool]:
    while True:
        with _lock(folder).open("a") as lock:
            free = try_lock(lock.fileno(), shared=shared)
            # A lock file removed since it was opened is useless: later processes make a new one.
            if not free or _is_there(lock):
                yield free
                return


def _is_there(lock: TextIO) -> bool:
    try:
        return os.path.samestat(os.stat(lock.name), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False
