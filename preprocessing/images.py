"""Reading the images that microscopes make, in one way everywhere."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Grey
from preprocessing.decoding import decode, decode_colours
from preprocessing.hashing import cached_sha256_of
from preprocessing.histograms import histogram_of
from preprocessing.matching import stretch

#: Suffixes of the files that :func:`read_image` takes, lower case. They serve to find images in a
#: folder; :func:`read_image` itself goes by the content.
IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})
#: Identifies an image: the hex hash of its raw file, and the page.
PageKey = tuple[str, int]


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image, grey and upright, at its own grey levels.

    Parameters
    ----------
    pixels
        Shape (H, W), uint8, uint16 or float32; the file's own levels, as far as :func:`read_image`
        can keep them.
    sha256
        Hex hash of the raw file.
    page, pages
        This page of the file (0-based), and the number of its pages.
    """

    pixels: Grey
    sha256: str
    page: int = 0
    pages: int = 1

    @property
    def key(self) -> PageKey:
        return self.sha256, self.page

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def read_image(source: Path | bytes, page: int = 0, sha256: str = "") -> ImageRecord:
    """Read one page of an image file as grey levels, upright.

    TIFF (8 and 16 bit, float, many pages, tiled, BigTIFF, OME), PNG (8 and 16 bit) and JPEG. Colour
    becomes luminance (ITU-R BT.601, as Pillow's mode L, but with 16 bits). Alpha is ignored.
    Signed, 32-bit and 64-bit levels become float32. The least level is subtracted first if float32
    would merge neighbouring levels (above 2²⁴; for 64-bit floats also if they differ little). In
    float images NaN and levels below -1e37 (-inf, and what GIS tools write for missing data) become
    the least other level, and levels above 1e37 the greatest.

    Parameters
    ----------
    source
        The file, or its content.
    page
        Page of a multi-page TIFF, 0-based.
    sha256
        Hex hash of the file, if known: hashing a large stack takes longer than reading a page.

    Raises
    ------
    UnreadableImage
        The file is missing, empty, truncated, damaged or of another format, has no such page or no
        finite level, or is too large to decode.
    """
    pixels, pages = decode(source, page, _name_of(source))
    return ImageRecord(pixels, sha256 or _hash(source), page, pages)


def read_display(source: Path | bytes, page: int = 0) -> NDArray[np.uint8]:
    """Read one page as an annotator is to see it: upright, 8 bits, its contrast stretched.

    Colours are stretched alike, so that they keep their hue: stains tell classes apart. An image in
    red, green or blue alone becomes grey, which the eye sees better than blue on black.

    Returns
    -------
    Shape (H, W), or (H, W, 3) if it has several colours.

    Raises
    ------
    UnreadableImage
        As :func:`read_image`.
    """
    pixels = decode_colours(source, page, _name_of(source))
    if pixels.ndim == 2:
        return to_display(pixels)
    channels = np.moveaxis(pixels, -1, 0)
    lit = [channel for channel in channels if channel.min() != channel.max()]
    if len(lit) == 1:
        return to_display(np.ascontiguousarray(lit[0]))
    return to_display(pixels.reshape(len(pixels), -1)).reshape(pixels.shape)


def to_display(pixels: Grey) -> NDArray[np.uint8]:
    """Return an 8-bit image of the same size for people to look at, its contrast stretched.

    The levels between the 0.1 % and the 99.9 % quantile are spread over 0..255.

    Parameters
    ----------
    pixels
        Shape (H, W), of any depth that :class:`ImageRecord` allows.
    """
    return np.rint(stretch(pixels, histogram_of(pixels)) * 255).astype(np.uint8)


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Return the PNG file of an image, shape (H, W), or (H, W, 3) if it has 8 bits."""
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=1)
        return file.getvalue()


def _name_of(source: Path | bytes) -> str:
    return source.name if isinstance(source, Path) else ""


def _hash(source: Path | bytes) -> str:
    if isinstance(source, Path):
        return cached_sha256_of(source)
    return hashlib.sha256(source).hexdigest()
