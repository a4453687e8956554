"""One page of a TIFF: why it is refused, or its pixels as they are stored."""

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
#: A page with more samples (three to a colour pixel) is refused before it is decoded, since it
#: would fill the memory: 20,000 × 20,000 grey pixels pass, and 13,000 × 13,000 in colour. Pillow
#: refuses PNG and JPEG of more than 179 million pixels by itself.
MOST_PAGE_SAMPLES = 2**29
#: Bytes of a page that are read at once. tifffile holds three times as many beside the pixels, and
#: would by default read sixteen times as many.
_READ_AT_ONCE = 2**24

#: TIFF's number of grey, and its numbers of extra samples that are alpha.
_GREY, _ALPHA = 1, (1, 2)
#: Red, green and blue.
_COLOURS = 3
#: TIFF's numbers of other colours than red, green and blue: CMYK for print, and three of Lab.
_OTHER_COLOURS = (5, 8, 9, 10)

# Our own errors say what is wrong with a file. tifffile would also complain, at each reading, of
# metadata that say nothing of the pixels.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

#: What tifffile raises on other programs' metadata, which say nothing of the pixels.
_ODD_WORDS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)

_CUT_OFF = "the file ends before its pixels do; copy it again."


def checked_page(tiff: TiffFile, number: int) -> TiffPage:
    """Return a page, unless what the file says before its pixels rules it out.

    Raises
    ------
    UnreadableImage
        The file is cut off, has no such page, or holds pixels that cannot be read.
    """
    if _is_cut_off(tiff):
        raise UnreadableImage(_CUT_OFF)
    check_page(number, len(tiff.pages))
    _check_planes(tiff)
    page: TiffPage = tiff.pages[number].aspage()
    _check_content(page, tiff.filehandle.size)
    return page


def _is_cut_off(tiff: TiffFile) -> bool:
    """Tell whether pages may be missing: none was found, or the last is not marked as the last.

    A file that was cut off refers to a page beyond its end, or ends before that reference; the
    pages before would be taken for all. ScanImage leaves its pages to be calculated.
    """
    if not len(tiff.pages) or tiff.pages.next_page_offset is None:
        return True
    tiff.filehandle.seek(tiff.pages.next_page_offset)
    told = tiff.filehandle.read(tiff.tiff.offsetsize)
    return told != bytes(tiff.tiff.offsetsize) and not tiff.is_scanimage


def check_page(number: int, pages: int) -> None:
    """Raise UnreadableImage if a file of this many pages has no page of this number."""
    if not 0 <= number < pages:
        raise UnreadableImage(f"there is no page {number}; its pages are 0 to {pages - 1}.")


def _check_planes(tiff: TiffFile) -> None:
    """Refuse a stack that lists one page only, as ImageJ writes stacks of more than 4 GB.

    A file that only claims to be a stack, such as a plane that was saved with the whole stack's
    metadata, passes: its other planes are not there.
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

    # tifffile has no name for a number that it does not know.
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
        # Some programs write the colour map's 16-bit levels as if they had 8 bits.
        shift = 8 if page.colormap.max() > 255 else 0
        colours: Pixels = np.moveaxis(page.colormap >> shift, 0, -1).astype(np.uint8)
        return colours[pixels]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return ~pixels if pixels.dtype.kind in "bui" else -pixels
    return pixels


def _check_more_than_colours(page: TiffPage, pixels: Pixels) -> None:
    """Refuse red, green and blue with another channel, unless it is alpha or of one level only.

    It may hold nuclei. Some programs write alpha without saying what it is.
    """
    if pixels.ndim == 3 and not any(more in _ALPHA for more in page.extrasamples):
        more = pixels[..., _COLOURS:]
        if more.size and more.min() != more.max():
            raise of_channels(pixels.shape[2])
