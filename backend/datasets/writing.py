"""Files for a person, written whole or not at all: beside their place first, then moved into it.

What must be there after a power cut is `model.atomic`'s; that locks the folder it writes in, which
a person's own, perhaps on a file server, may not allow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.errors import BadRequest


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of ``path`` when all went well, else it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all."""
    with partial_file(path) as partial:
        partial.write_bytes(content)


def require_empty(out: Path) -> None:
    """Refuse a folder that holds something: nobody's own files are ever overwritten.

    Raises
    ------
    BadRequest
        It holds something.
    """
    if out.is_dir() and any(out.iterdir()):
        raise BadRequest(f"{out} holds files already: give a new folder, nothing is overwritten.")
