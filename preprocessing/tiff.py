"""One page of a TIFF: why it is refused, else its pixels as they are stored."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from preprocessing.arrays import Pixels
from preprocessing.errors import UnreadableImage
from preprocessing.levels import of_channels

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION_TAG = 274
#: A page with more samples, of which a pixel in colours has three, is refused before it is decoded,
#: since it would fill the memory: 20,000 × 20,000 grey pixels pass, 13,000 × 13,000 in colours.
#: Pillow refuses PNG and JPEG of more than 179 million pixels by itself.
MOST_PAGE_SAMPLES = 2**29
#: Bytes of a page that are read at once: tifffile holds three times that beside the pixels, and
#: would by itself read sixteen times as many.
_READ_AT_ONCE = 2**24

#: TIFF's number of grey, and of what more samples of a pixel are where they are its alpha.
_GREY, _ALPHA = 1, (1, 2)
#: Red, green and blue.
_COLOURS = 3
#: TIFF's numbers of colours that are not red, green and blue: for print (CMYK), and three of Lab.
_OTHER_COLOURS = (5, 8, 9, 10)

# What is wrong with a file is said by errors of our own; of words that tell nothing of its pixels
# tifffile would complain at each reading.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

#: What tifffile raises on words of others that tell nothing of the pixels.
_ODD_WORDS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)

_CUT_OFF = "the file ends before its pixels do; copy it again."


def checked_page(tiff: TiffFile, number: int) -> TiffPage:
    """Return a page of which nothing that is told before its pixels speaks against it.

    Raises
    ------
    UnreadableImage
        Something does.
    """
    if _is_cut_off(tiff):
        raise UnreadableImage(_CUT_OFF)
    check_page(number, len(tiff.pages))
    _check_planes(tiff)
    page: TiffPage = tiff.pages[number].aspage()
    _check_content(page, tiff.filehandle.size)
    return page


def _is_cut_off(tiff: TiffFile) -> bool:
    """Tell whether pages may be missing: none was found, or the last one is not said to be so.

    A file that was cut off tells of a page beyond its end, or ends before it tells of any; the
    pages before it would be taken for all. ScanImage leaves its pages to be reckoned.
    """
    if not len(tiff.pages) or tiff.pages.next_page_offset is None:
        return True
    tiff.filehandle.seek(tiff.pages.next_page_offset)
    told = tiff.filehandle.read(tiff.tiff.offsetsize)
    return told != bytes(tiff.tiff.offsetsize) and not tiff.is_scanimage


def check_page(number: int, pages: int) -> None:
    """Raise UnreadableImage where there is no page of this number, of so many."""
    if not 0 <= number < pages:
        raise UnreadableImage(f"there is no page {number}; its pages are 0 to {pages - 1}.")


def _check_planes(tiff: TiffFile) -> None:
    """Refuse a stack of which one page is told, as ImageJ writes those of more than 4 GB.

    What only says that it is a stack, such as a plane that was saved with the words of all, is no
    such file: the planes are not there.
    """
    if len(tiff.pages) > 1 or not (tiff.is_imagej or tiff.is_shaped):
        return
    page = tiff.pages[0].aspage()
    try:
        whole = tiff.series[0]
    except _ODD_WORDS:
        return
    is_there = page.dataoffsets[0] + whole.nbytes <= tiff.filehandle.size
    if whole.is_truncated and is_there:
        planes = whole.nbytes // page.nbytes
        raise UnreadableImage(f"{planes} planes in one page; save it as single planes.")


def _check_content(page: TiffPage, file_size: int) -> None:
    pixels = page.imagelength * page.imagewidth
    if pixels * page.samplesperpixel > MOST_PAGE_SAMPLES:
        way_out = "cut it into tiles" + ", or save it as grey" * (pixels <= MOST_PAGE_SAMPLES)
        raise UnreadableImage(
            f"{page.imagewidth} × {page.imagelength} pixels are too many; {way_out}."
        )
    channels = page.samplesperpixel - any(more in _ALPHA for more in page.extrasamples)
    if page.photometric == _GREY and channels > 1:
        raise of_channels(channels)
    segments = zip(page.dataoffsets, page.databytecounts, strict=True)
    if max((at + length for at, length in segments), default=0) > file_size:
        raise UnreadableImage(_CUT_OFF)


def colours_of(page: TiffPage) -> Pixels:
    """Return the page's pixels, shape (H, W) or (H, W, samples), light at high levels."""
    import tifffile

    # Of numbers that tifffile does not know neither has a name.
    space, packing = (getattr(n, "name", str(n)) for n in (page.photometric, page.compression))
    if page.photometric in _OTHER_COLOURS or (space == "YCBCR" and "JPEG" not in packing):
        raise UnreadableImage(f"its colours are {space}; save it as RGB or grey.")
    pixels: Pixels = page.asarray(buffersize=_READ_AT_ONCE)
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    elif page.axes not in ("YX", "YXS"):
        raise UnreadableImage(f"axes {page.axes} are not a plane; save it as single planes.")
    if page.photometric == tifffile.PHOTOMETRIC.RGB:
        _check_more_than_colours(page, pixels)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        # Some programs write the map's levels of 16 bits as if they had 8.
        shift = 8 if page.colormap.max() > 255 else 0
        colours: Pixels = np.moveaxis(page.colormap >> shift, 0, -1).astype(np.uint8)
        return colours[pixels]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return ~pixels if pixels.dtype.kind in "bui" else -pixels
    return pixels


def _check_more_than_colours(page: TiffPage, pixels: Pixels) -> None:
    """Refuse red, green and blue with another channel that is not alpha, nor of one level alone.

    Nuclei may be in it. Some programs write alpha without a word of what it is.
    """
    if pixels.ndim == 3 and not any(more in _ALPHA for more in page.extrasamples):
        more = pixels[..., _COLOURS:]
        if more.size and more.min() != more.max():
            raise of_channels(pixels.shape[2])
