"""Writes a person's files and folders whole or not at all: first beside their place, then moved.

`model.atomic` writes what must survive a power cut. It locks the folder that it writes in; a
person's own folder, perhaps on a file server, may not allow that.
"""

from __future__ import annotations

import csv
import io
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from backend.errors import BadRequest

_PARTIAL = ".partial"


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it replaces ``path``, otherwise it is removed.

    Raises
    ------
    BadRequest
        ``path`` is a folder.
    """
    require_no_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        with _told_of(path, partial):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; on success it replaces ``path``, otherwise it is removed.

    Raises
    ------
    OSError
        ``path`` exists and is not empty, at the latest at the end.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        with _told_of(path, partial):
            partial.mkdir()
            yield partial
            with suppress(FileNotFoundError):
                path.rmdir()
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _told_of(path: Path, partial: Path) -> Iterator[None]:
    """Make errors name ``path``: a full disk names no file, and nobody knows the partial one."""
    try:
        yield
    except OSError as error:
        is_ours = error.filename is None or str(error.filename).startswith(str(partial))
        if error.errno is None or not is_ours:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _beside(path: Path) -> Path:
    """Return a unique path for what is not whole yet, without the name, which may be long."""
    return path.with_name(f".{secrets.token_hex(8)}{_PARTIAL}")


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all."""
    with partial_file(path) as partial:
        partial.write_bytes(content)


def as_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as a CSV file in UTF-8 with Unix line ends.

    A lone surrogate, which JSON may hold but UTF-8 cannot, is written as its escape.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def require_new(path: Path, replace: bool) -> None:
    """Refuse, before the work begins, to overwrite a file unless ``replace`` says to.

    Raises
    ------
    BadRequest
        The file exists.
    """
    if path.is_file() and not replace:
        raise BadRequest(f"{path} is there already: name another file, or add --replace.")


def require_no_folder(path: Path) -> None:
    """Refuse a folder where a file is to go.

    Raises
    ------
    BadRequest
        The path is a folder.
    """
    if path.is_dir():
        raise BadRequest(f"{path} is a folder: name a file.")
