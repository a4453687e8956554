"""Files and folders for a person, whole or not at all: beside their place first, then moved there.

What must be there after a power cut is `model.atomic`'s; that locks the folder it writes in, which
a person's own, perhaps on a file server, may not allow.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from backend.errors import BadRequest
from model.atomic import try_lock

_PARTIAL = ".partial"


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of ``path`` when all went well, else it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill; it takes the place of ``path`` when all went well, else it goes.

    Raises
    ------
    OSError
        ``path`` is there and holds something, by the end at the latest.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
    partial.mkdir()
    try:
        yield partial
        with suppress(FileNotFoundError):
            path.rmdir()
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all."""
    with partial_file(path) as partial:
        partial.write_bytes(content)


def as_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as a CSV file in UTF-8, whose lines end as on Unix."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, made when absent, against all others who would; the kernel lets go of it.

    A file server that knows no such locks lets everybody in.

    Raises
    ------
    BadRequest
        Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            if not try_lock(descriptor):
                raise BadRequest(f"Another process writes in {folder}: wait for it, or end it.")
        yield
    finally:
        os.close(descriptor)


def require_empty(out: Path) -> None:
    """Refuse a folder that holds something: nobody's own files are ever overwritten.

    What a process left that was killed while it wrote is nothing.

    Raises
    ------
    BadRequest
        It holds something.
    """
    if out.is_dir() and any(path.suffix != _PARTIAL for path in out.iterdir()):
        raise BadRequest(f"{out} holds files already: give a new folder, nothing is overwritten.")


def require_as_begun(path: Path, began: Mapping[str, object], how: Mapping[str, object]) -> None:
    """Refuse to go on with a file otherwise than it was begun.

    Parameters
    ----------
    began, how
        What was chosen then and is chosen now, by name; what was not known then is not held
        against it.

    Raises
    ------
    BadRequest
        Something was chosen otherwise.
    """
    others = [name for name in how if name in began and began[name] != how[name]]
    if others:
        before, now = (", ".join(f"{n} {chosen[n]}" for n in others) for chosen in (began, how))
        raise BadRequest(
            f"{path} began with {before}, and cannot go on with {now}: choose as before, or "
            "another --out."
        )
