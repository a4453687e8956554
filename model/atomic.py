"""Files and folders that exist whole or not at all, through crash and power cut."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
#: More bytes than a full disk may have left once a write has failed.
_A_LITTLE = 2**16


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace ``path`` in one step: a reader sees the old text or the new, never half of one."""
    with new_file(path) as partial:
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a file to write; it takes the place of ``path`` when the block ends well, else goes.

    Raises
    ------
    OSError
        Also where the disk is full and a library that wrote says that in words of its own.
    """
    with _beside(path) as partial:
        try:
            with _room_told(path, partial):
                yield partial
            _sync(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; it becomes ``path`` when the block ends well, else it is gone.

    Raises
    ------
    FileExistsError
        When ``path`` is there already.
    """
    with _beside(path) as partial:
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


@contextmanager
def locked(path: Path, on_wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Wait until no other thread or process holds this lock, then hold it; the kernel frees it.

    Parameters
    ----------
    on_wait
        Called first where another holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        if not try_lock(lock.fileno()):
            if on_wait:
                on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Hold the lock of an open file or folder until it is closed, unless another holds it.

    Parameters
    ----------
    shared
        Let others hold it who share it too.

    Returns
    -------
    False when another does.

    Raises
    ------
    OSError
        The file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_folder(path: Path) -> None:
    """Take a folder away in one step; what a crash leaves of it is swept up later."""
    with _beside(path) as partial:
        path.rename(partial)
        _sync(path.parent)
        shutil.rmtree(partial)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path``, on the same file system, else its move would be a copy.

    Whoever writes in a folder holds its lock together with all others who do. One that gets it
    alone sweeps up first: whatever lies there was left by a write that was killed. On a file server
    that locks no folder nobody does.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _is_alone(descriptor):
            _sweep(folder)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield path.with_name(f"{PARTIAL}{path.name}-{secrets.token_hex(4)}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _room_told(path: Path, partial: Path) -> Iterator[None]:
    """Let a full disk be the kernel's error, of ``path``, whatever a library made of it."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and (full := _why_no_more(partial)):
            raise OSError(full.errno, full.strerror, str(path)) from error
        raise


def _why_no_more(file: Path) -> OSError | None:
    """Return why no more can be written to a file; None: it can."""
    try:
        with file.open("ab") as opened:
            opened.write(bytes(_A_LITTLE))
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        return error
    return None


def _is_alone(descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError:
        return False


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{PARTIAL}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
