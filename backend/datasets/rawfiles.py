"""Raw image files as the user gets them back."""

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

    For a multi-page file both are of the first page.

    Raises
    ------
    UnreadableImage
        The file cannot be read, for example because it was damaged since.
    """
    turned = is_turned(path)  # its error says why a file cannot be opened
    return _channels_of(path), turned


def is_known_turned(path: Path) -> bool:
    """Tell whether a tag turns an image (``is_turned``); False if it is gone or damaged.

    Its boxes are known even then.
    """
    try:
        return is_turned(path)
    except UnreadableImage:
        return False


def _channels_of(path: Path) -> int:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return int(tiff.pages[0].aspage().samplesperpixel)
    except tifffile.TiffFileError:  # a PNG or a JPEG
        with open_png_or_jpeg(path) as image:
            return len(image.getbands())


def page_as_tiff(path: Path, page: int) -> bytes:
    """Return one page of a multi-page file as a grey TIFF of its own, its levels unchanged.

    A colour page has the levels of its luminance (``read_image``).

    A VOC file belongs to one image, and tools that open the whole file would see its first page.

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
    """Return a note on the boxes of images that a tag turns (``is_turned``), if there are any."""
    meant = "boxes are of the image upright, as its orientation tag says; tools that ignore the tag"
    return [f"{meant} see them elsewhere: {shortened(names)}"] if names else []
