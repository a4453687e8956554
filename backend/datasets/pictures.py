"""Pictures for people, marked so that none is ever taken for an image with cells."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from backend.datasets.writing import require_no_folder, write_whole
from backend.errors import BadRequest

PNG = ".png"
#: Where a PNG's signature and first chunk, which has a fixed length, end.
_FIRST_CHUNK_END = 33


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


#: Marks a picture for people: it shows images but is not one.
_SIGNED = _chunk(b"tEXt", b"Software\0Cytoloop")


def write_picture(path: Path, png: bytes) -> None:
    """Write a PNG for people, marked as a picture of ours: see :func:`is_picture`."""
    write_whole(path, png[:_FIRST_CHUNK_END] + _SIGNED + png[_FIRST_CHUNK_END:])


def require_picture_place(path: Path) -> None:
    """Refuse, before the work begins, a place where no picture of ours can go.

    Raises
    ------
    BadRequest
        The path does not end like a PNG, or the file there is no picture of ours, such as a raw
        image.
    """
    require_no_folder(path)
    if path.suffix.lower() != PNG:
        raise BadRequest(f"{path} is no PNG: call the picture {path.with_suffix(PNG).name}.")
    if path.exists() and not is_picture(path):
        raise BadRequest(
            f"The picture would replace {path}, which Cytoloop did not draw: name another place."
        )


def is_picture(path: Path) -> bool:
    """Tell whether :func:`write_picture` wrote a file: it is no image to look for cells in."""
    try:
        with path.open("rb") as file:
            return file.read(_FIRST_CHUNK_END + len(_SIGNED)).endswith(_SIGNED)
    except OSError:  # reported when it is read
        return False
