"""Raw image files as they go back to the user."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from model.wording import shortened
from preprocessing.decoding import is_turned, open_png_or_jpeg
from preprocessing.errors import UnreadableImage
from preprocessing.images import read_image


def told_of(path: Path) -> tuple[int, bool]:
    """Return the number of channels of an image file, and whether a tag turns it (``is_turned``).

    Of a file of many pages it is told of the first.

    Raises
    ------
    UnreadableImage
        It cannot be told, such as of a file that was damaged since.
    """
    turned = is_turned(path)  # names whatever keeps a file from being opened
    return _depth_of(path), turned


def is_known_turned(path: Path) -> bool:
    """Tell whether a tag turns an image (``is_turned``); of one gone or damaged since, no.

    Its boxes are known all the same.
    """
    try:
        return is_turned(path)
    except UnreadableImage:
        return False


def _depth_of(path: Path) -> int:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return int(tiff.pages[0].aspage().samplesperpixel)
    except tifffile.TiffFileError:  # a PNG or a JPEG
        with open_png_or_jpeg(path) as image:
            return len(image.getbands())


def page_as_tiff(path: Path, page: int) -> bytes:
    """Return one page of a many-page file as a grey TIFF of its own, its levels unchanged.

    Of a page in colours the levels are those of its luminance (``read_image``).

    A VOC file belongs to one image, and tools that read the whole file would see the first page.

    Raises
    ------
    UnreadableImage
        The page cannot be read.
    """
    import tifffile

    with io.BytesIO() as file:
        tifffile.imwrite(file, read_image(path, page=page).pixels)
        return file.getvalue()


def turned_note(names: Sequence[str]) -> list[str]:
    """Return what to know of the boxes of images that a tag turns (``is_turned``), if there are."""
    meant = "boxes are of the image upright, as its orientation tag says; tools that ignore the tag"
    return [f"{meant} see them elsewhere: {shortened(names)}"] if names else []
