"""Pictures for people: marked, so that none is ever taken for an image with cells."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from backend.datasets.writing import write_whole

#: Where a PNG's signature and first chunk, which is always the same, end.
_FIRST_CHUNK_END = 33


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


#: Marks a picture for people, which shows images and is none.
_SIGNED = _chunk(b"tEXt", b"Software\0Cytoloop")


def write_picture(path: Path, png: bytes) -> None:
    """Write a PNG for people, marked as a picture of ours: see :func:`is_picture`."""
    write_whole(path, png[:_FIRST_CHUNK_END] + _SIGNED + png[_FIRST_CHUNK_END:])


def is_picture(path: Path) -> bool:
    """Tell whether a file is what :func:`write_picture` wrote: no image to look for cells in."""
    try:
        with path.open("rb") as file:
            return file.read(_FIRST_CHUNK_END + len(_SIGNED)).endswith(_SIGNED)
    except OSError:  # told when it is read
        return False
