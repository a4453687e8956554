"""The hash that identifies a file."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file, reading all of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_sha256_of(path: Path) -> str:
    """Return the same, at once if the file has not changed since the last call.

    Only another time or size counts as a change; :func:`sha256_of` also sees damage.
    """
    now = path.stat()
    return _cached(path, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=4096)
def _cached(path: Path, changed_ns: int, size: int) -> str:
    return sha256_of(path)
