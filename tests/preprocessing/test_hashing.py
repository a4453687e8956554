from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from preprocessing.hashing import cached_sha256_of, sha256_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that is known already."""
    path = tmp_path / "raw"
    path.write_bytes(b"as kept")
    assert cached_sha256_of(path) == sha256_of(path) == sha256(b"as kept").hexdigest()
    return path


def test_a_file_that_was_changed_is_read_again(file: Path) -> None:
    file.write_bytes(b"changed")
    os.utime(file, ns=(0, 0))
    assert cached_sha256_of(file) == sha256(b"changed").hexdigest()


def test_damage_that_leaves_time_and_size_is_seen_by_reading_all(file: Path) -> None:
    kept = file.stat().st_mtime_ns
    file.write_bytes(b"damaged")
    os.utime(file, ns=(kept, kept))
    assert sha256_of(file) == sha256(b"damaged").hexdigest()
    assert cached_sha256_of(file) == sha256(b"as kept").hexdigest()
