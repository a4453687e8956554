"""Files and folders that exist whole or not at all, through crash and power cut."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
#: A partial this old was left by a crash: no write takes a day.
STALE_S = 24 * 3600.0


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace ``path`` in one step: a reader sees the old text or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_beside(path)
    try:
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; it becomes ``path`` when the block ends well, else it is gone.

    Raises
    ------
    FileExistsError
        When ``path`` is there already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    partial = _partial_beside(path)
    partial.mkdir()
    try:
        yield partial
        for file in partial.iterdir():
            _sync(file)
        _sync(partial)
        if path.exists():
            raise FileExistsError(f"{path} is there already")
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sync(path.parent)


def remove_folder(path: Path) -> None:
    """Take a folder away in one step; what a crash leaves of it is swept up later."""
    partial = _partial_beside(path)
    path.rename(partial)
    _sync(path.parent)
    shutil.rmtree(partial)


def _partial_beside(path: Path) -> Path:
    # On the same file system as its goal, else the rename would be a copy.
    return path.with_name(f"{PARTIAL}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{PARTIAL}*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
