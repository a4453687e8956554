"""From the bytes of a file to its grey, upright pixels: tifffile for TIFF, Pillow for the rest."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Float32
from preprocessing.errors import UnreadableImage
from preprocessing.tiff import (
    MAGIC,
    ORIENTATION_TAG,
    Pixels,
    check_page,
    checked_page,
    colours_of,
    of_channels,
)

if TYPE_CHECKING:
    from PIL.Image import Image

Grey = NDArray[np.uint8] | NDArray[np.uint16] | Float32

#: Beyond this float32 tells not all whole numbers apart.
MOST_EXACT = 2**24

#: The orientations of an image that is not stored upright.
_TURNED = range(2, 9)
PNG_DEPTH_AT = 24
_JPEG = b"\xff\xd8"
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
                    checked_page(tiff, page)
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
    head = _head_of(source)
    if not head:
        raise UnreadableImage("the file is empty (0 bytes); copy it again.")
    return head in MAGIC


def _head_of(source: Path | bytes, size: int = 4) -> bytes:
    if isinstance(source, bytes):
        return source[:size]
    try:
        with source.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise UnreadableImage(
            f"it cannot be opened ({error.strerror}); check its path and rights."
        ) from error


def _stream(source: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _decode_tiff(source: Path | bytes, number: int) -> tuple[Pixels, int]:
    import tifffile

    with tifffile.TiffFile(_stream(source)) as tiff:
        page = checked_page(tiff, number)
        pixels = _luminance(colours_of(page))
        upright = _upright(pixels, _orientation(page.tags.valueof(ORIENTATION_TAG)))
        return upright, len(tiff.pages)


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
            with open_flat(path) as image:
                told = _told_by_exif(image)
    return _orientation(told) in _TURNED


def _told_by_exif(image: Image) -> object:
    """Return what the orientation tag tells in what was read of a PNG or JPEG, decoding nothing.

    Of EXIF that cannot be parsed nothing: the pixels beside it may be whole.
    """
    from PIL import Image

    try:
        return Image.Image.getexif(image).get(ORIENTATION_TAG)
    except (SyntaxError, ValueError, struct.error):
        return None


def _decode_flat(source: Path | bytes, number: int) -> Pixels:
    check_page(number, 1)
    with open_flat(source) as image:
        if "exif" not in image.info:
            image.load()  # That of a PNG may stand behind its pixels.
        orientation = _orientation(_told_by_exif(image))
        return _upright(_luminance(_flat_pixels(image, source)), orientation)


def open_flat(source: Path | bytes) -> Image:
    """Open a PNG or JPEG, of which nothing is decoded yet.

    Raises
    ------
    UnreadableImage
        It is neither, or a JPEG of a kind that Pillow cannot read, or has too many pixels for it.
    """
    from PIL import Image, UnidentifiedImageError

    # Pillow warns from half the pixels on that it refuses. For good, since to mute it for a moment
    # is to change what all other threads are told.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    try:
        return Image.open(_stream(source), formats=("PNG", "JPEG"))
    except UnidentifiedImageError as error:
        raise UnreadableImage(_why_unknown(source)) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(
            "a PNG or JPEG of more than 179 million pixels is too large; cut it into tiles, or "
            "save it as a grey TIFF."
        ) from error


def _why_unknown(source: Path | bytes) -> str:
    if _head_of(source).startswith(_JPEG):
        return (
            "a JPEG of a kind that is not read, such as of 12 bits, or damaged; save it as TIFF or "
            "PNG."
        )
    return "not a TIFF, PNG or JPEG; save it as one of these."


def _flat_pixels(image: Image, source: Path | bytes) -> Pixels:
    """Return the pixels of a PNG or JPEG at the depth of the file."""
    if image.format == "PNG" and _head_of(source, PNG_DEPTH_AT + 1)[-1] > 8:
        # Pillow would round 16-bit colours to 8 bits.
        import imagecodecs

        content = source if isinstance(source, bytes) else source.read_bytes()
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
        raise of_channels(samples)
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


def _finite(pixels: Float32) -> Float32:
    finite = np.isfinite(pixels)
    if finite.all():
        return pixels
    if not finite.any():
        raise UnreadableImage("not one of its pixels is a finite number.")
    least, greatest = pixels[finite].min(), pixels[finite].max()
    return np.nan_to_num(pixels, nan=least, neginf=least, posinf=greatest)
