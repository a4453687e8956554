"""From the bytes of a file to its grey, upright pixels: tifffile for TIFF, Pillow for the rest."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.errors import UnreadableImage

if TYPE_CHECKING:
    from PIL.Image import Image
    from tifffile import TiffFile, TiffPage

Grey = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
Pixels = NDArray[Any]

#: A TIFF with more pixels a page is refused before it is decoded, since it would fill the memory:
#: 20,000 × 20,000 pass. Pillow refuses PNG and JPEG of more than 179 million pixels by itself.
MOST_PIXELS = 2**29

#: Beyond this float32 tells not all whole numbers apart.
MOST_EXACT = 2**24

# What is wrong with a file is said by errors of our own; of words that tell nothing of its pixels
# tifffile would complain at each reading.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

#: What tifffile raises on words of others that tell nothing of the pixels.
_ODD_WORDS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)

_CUT_OFF = "the file ends before its pixels do; copy it again."

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION_TAG = 274
#: The orientations of an image that is not stored upright.
_TURNED = range(2, 9)
#: TIFF's number of grey, and of what more samples of a pixel are where they are its alpha.
_GREY, _ALPHA = 1, (1, 2)
#: TIFF's numbers of colours that are not red, green and blue: for print (CMYK), and three of Lab.
_OTHER_COLOURS = (5, 8, 9, 10)
PNG_DEPTH_AT = 24
MOST_SAMPLES = 4

# Fixed-point weights of red, green and blue (ITU-R BT.601) as Pillow's mode L has them; their sum
# is 2**16, so that 16-bit levels still fit an unsigned 32-bit sum.
LUMINANCE = (19595, 38470, 7471)
#: Rows that are weighted at once: of all, the sum would take more memory than the image.
_STRIP_PX = 512


def decode(source: Path | bytes, page: int, name: str) -> tuple[Grey, int]:
    """Return the pixels of one page, shape (H, W), and how many pages there are.

    Raises
    ------
    UnreadableImage
        With ``name`` in its message.
    """
    with _failures_named(name):
        if _is_tiff(source):
            pixels, pages = _decode_tiff(source, page)
        else:
            pixels, pages = _decode_flat(source, page), 1
        return _grey_levels(pixels), pages


def why_refused(path: Path, page: int, name: str) -> str:
    """Return what :func:`decode` would raise, as far as a TIFF tells before its pixels; else "".

    So an image can be left out that was taken in before its kind was refused.
    """
    try:
        with _failures_named(name):
            if _is_tiff(path):
                import tifffile

                with tifffile.TiffFile(path) as tiff:
                    _checked_page(tiff, page)
    except UnreadableImage as error:
        return str(error)
    return ""


@contextmanager
def _failures_named(name: str) -> Iterator[None]:
    try:
        yield
    except UnreadableImage as error:
        raise UnreadableImage(f"{name}: {error}") from error
    except MemoryError as error:
        raise UnreadableImage(
            f"{name}: the memory is full ({error or 'while it was read'}); end other programs, or "
            "cut the image into tiles."
        ) from error
    except Exception as error:  # broad: decoders raise anything on damaged foreign bytes
        raise UnreadableImage(
            f"{name}: damaged or incomplete ({error or type(error).__name__}); copy the file "
            "again from the microscope, or save it anew as TIFF or PNG."
        ) from error


def _is_tiff(source: Path | bytes) -> bool:
    head = source[:4] if isinstance(source, bytes) else _head_of(source)
    if not head:
        raise UnreadableImage("the file is empty (0 bytes); copy it again.")
    return head in TIFF_MAGIC


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise UnreadableImage(
            f"it cannot be opened ({error.strerror}); check its path and rights."
        ) from error


def _stream(source: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _decode_tiff(source: Path | bytes, number: int) -> tuple[Pixels, int]:
    import tifffile

    with tifffile.TiffFile(_stream(source)) as tiff:
        page = _checked_page(tiff, number)
        pixels = _luminance(_colours_of(page))
        upright = _upright(pixels, _orientation(page.tags.valueof(ORIENTATION_TAG)))
        return upright, len(tiff.pages)


def _checked_page(tiff: TiffFile, number: int) -> TiffPage:
    if _is_cut_off(tiff):
        raise UnreadableImage(_CUT_OFF)
    _check_page(number, len(tiff.pages))
    _check_planes(tiff)
    page: TiffPage = tiff.pages[number].aspage()
    _check_tiff_page(page, tiff.filehandle.size)
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


def _check_page(number: int, pages: int) -> None:
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


def _check_tiff_page(page: TiffPage, file_size: int) -> None:
    if page.imagelength * page.imagewidth * page.samplesperpixel > MOST_PIXELS:
        raise UnreadableImage(
            f"{page.imagewidth} × {page.imagelength} pixels are too many; cut it into tiles."
        )
    channels = page.samplesperpixel - any(more in _ALPHA for more in page.extrasamples)
    if page.photometric == _GREY and channels > 1:
        raise _of_channels(channels)
    segments = zip(page.dataoffsets, page.databytecounts, strict=True)
    if max((at + length for at, length in segments), default=0) > file_size:
        raise UnreadableImage(_CUT_OFF)


def _colours_of(page: TiffPage) -> Pixels:
    """Return the page's pixels, shape (H, W) or (H, W, samples), light at high levels."""
    import tifffile

    # Of numbers that tifffile does not know neither has a name.
    space, packing = (getattr(n, "name", str(n)) for n in (page.photometric, page.compression))
    if page.photometric in _OTHER_COLOURS or (space == "YCBCR" and "JPEG" not in packing):
        raise UnreadableImage(f"its colours are {space}; save it as RGB or grey.")
    pixels: Pixels = page.asarray()
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    elif page.axes not in ("YX", "YXS"):
        raise UnreadableImage(f"axes {page.axes} are not a plane; save it as single planes.")
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        # Some programs write the map's levels of 16 bits as if they had 8.
        shift = 8 if page.colormap.max() > 255 else 0
        colours: Pixels = np.moveaxis(page.colormap >> shift, 0, -1).astype(np.uint8)
        return colours[pixels]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return ~pixels if pixels.dtype.kind in "bu" else -pixels
    return pixels


def _orientation(told: object) -> int:
    """Return what an orientation tag tells: of one that is no number, as if there were none."""
    return told if isinstance(told, int) else 1


def is_turned(path: Path) -> bool:
    """Tell whether the first page is turned or mirrored to be upright.

    Tools that ignore the tag which says so see another image than ``read_image`` gives. A PNG whose
    tag stands behind its pixels is not told: to find it would be to decode them.

    Raises
    ------
    UnreadableImage
        It cannot be told.
    """
    with _failures_named(path.name):
        if _is_tiff(path):
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                told = tiff.pages[0].aspage().tags.valueof(ORIENTATION_TAG)
        else:
            from PIL import Image

            with open_flat(path) as image:
                told = Image.Image.getexif(image).get(ORIENTATION_TAG)
    return _orientation(told) in _TURNED


def _decode_flat(source: Path | bytes, number: int) -> Pixels:
    _check_page(number, 1)
    with open_flat(source) as image:
        orientation = _orientation(image.getexif().get(ORIENTATION_TAG))
        return _upright(_luminance(_flat_pixels(image, source)), orientation)


def open_flat(source: Path | bytes) -> Image:
    """Open a PNG or JPEG, of which nothing is decoded yet.

    Raises
    ------
    UnreadableImage
        It is neither, or has more pixels than Pillow takes.
    """
    from PIL import Image, UnidentifiedImageError

    # Pillow warns from half the pixels on that it refuses. For good, since to mute it for a moment
    # is to change what all other threads are told.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    try:
        return Image.open(_stream(source), formats=("PNG", "JPEG"))
    except UnidentifiedImageError as error:
        raise UnreadableImage("not a TIFF, PNG or JPEG; save it as one of these.") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(
            "a PNG or JPEG of more than 179 million pixels is too large; cut it into tiles, or "
            "save it as a grey TIFF."
        ) from error


def _flat_pixels(image: Image, source: Path | bytes) -> Pixels:
    """Return the pixels of a PNG or JPEG at the depth of the file."""
    content = source if isinstance(source, bytes) else source.read_bytes()
    if image.format == "PNG" and content[PNG_DEPTH_AT] > 8:
        # Pillow would round 16-bit colours to 8 bits.
        import imagecodecs

        return np.asarray(imagecodecs.png_decode(content))
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return np.asarray(image)
    return np.asarray(image.convert("L" if image.mode == "1" else "RGB"))


def _luminance(pixels: Pixels) -> Pixels:
    """Return shape (H, W) of pixels of shape (H, W) or (H, W, samples).

    Grey that is written as colour comes back as it is. Of 8-bit colours the luminance has 16 bits,
    256 to a level of white: rounded to 8 bits a picture in blue alone, such as a DAPI channel,
    would keep 30 of its 256 levels.
    """
    if pixels.ndim == 2:
        return pixels
    samples = pixels.shape[2]
    if samples > MOST_SAMPLES:
        raise _of_channels(samples)
    if samples < 3 or all(np.array_equal(pixels[..., 0], pixels[..., s]) for s in (1, 2)):
        return pixels[..., 0]
    if pixels.dtype not in (np.uint8, np.uint16):
        weights = np.array(LUMINANCE) / 2**16
        return np.asarray(pixels[..., :3] @ weights)
    shift = np.uint32(8 * pixels.dtype.itemsize)
    grey = np.empty(pixels.shape[:2], np.uint16)
    for top in range(0, len(pixels), _STRIP_PX):
        strip = slice(top, top + _STRIP_PX)
        grey[strip] = _weighted(pixels[strip], np.uint32(2**shift // 2)) >> shift
    return grey


def _of_channels(number: int) -> UnreadableImage:
    return UnreadableImage(f"{number} channels in one page; save the one to look at.")


def _weighted(pixels: Pixels, start: np.uint32) -> NDArray[np.uint32]:
    total = np.full(pixels.shape[:2], start, np.uint32)
    for sample, weight in enumerate(LUMINANCE):
        total += pixels[..., sample] * np.uint32(weight)
    return total


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the turn and mirroring that the EXIF orientation, 1 to 8, tells of."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _grey_levels(pixels: Pixels) -> Grey:
    if pixels.size == 0:
        raise UnreadableImage("it has no pixels.")
    if pixels.dtype == np.bool_:
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if pixels.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    if pixels.dtype.kind not in "iuf":
        raise UnreadableImage(f"pixels of type {pixels.dtype}; save it with 8 or 16 bits.")
    levels = np.ascontiguousarray(pixels, dtype=np.float64)
    if pixels.dtype.kind != "f" and np.abs(levels).max() > MOST_EXACT:
        levels -= levels.min()
    return _finite(levels.astype(np.float32))


def _finite(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    finite = np.isfinite(pixels)
    if finite.all():
        return pixels
    if not finite.any():
        raise UnreadableImage("not one of its pixels is a finite number.")
    least, greatest = pixels[finite].min(), pixels[finite].max()
    return np.nan_to_num(pixels, nan=least, neginf=least, posinf=greatest)
