"""The hash by which a file is known."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file; all of it is read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_sha256_of(path: Path) -> str:
    """Return the same; of a file that has not changed since it was asked, at once.

    Changed is what has another time or size: whether a file was damaged, :func:`sha256_of` tells.
    """
    now = path.stat()
    return _cached(path, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=4096)
def _cached(path: Path, changed_ns: int, size: int) -> str:
    return sha256_of(path)
