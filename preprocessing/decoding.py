"""From the bytes of a file to its pixels: tifffile for TIFF, Pillow for the rest."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from preprocessing.arrays import Grey, Pixels
from preprocessing.errors import UnreadableImage
from preprocessing.levels import colours, grey_levels, luminance, upright
from preprocessing.tiff import MAGIC, ORIENTATION_TAG, check_page, checked_page, colours_of

if TYPE_CHECKING:
    from PIL.Image import Image

#: Orientations of images that are not stored upright.
_TURNED = range(2, 9)
PNG_DEPTH_AT = 24
#: The chunks of a PNG that hold its size, its EXIF (which may be text) and its end.
_WORDS = (b"IHDR", b"eXIf", b"iTXt", b"tEXt", b"zTXt", b"IEND")
_JPEG = b"\xff\xd8"
#: What is made of a page's stored pixels before they are turned upright.
_Of = Callable[[Pixels], Pixels]


def decode(source: Path | bytes, page: int, name: str) -> tuple[Grey, int]:
    """Return the pixels of one page, shape (H, W), and the number of pages.

    Raises
    ------
    UnreadableImage
        The page cannot be decoded; the message begins with ``name``, if there is one.
    """
    with _failures_named(name):
        pixels, pages = _decoded(source, page, luminance)
        return grey_levels(pixels), pages


def decode_colours(source: Path | bytes, page: int, name: str) -> Grey:
    """Return the pixels of one page, shape (H, W), or (H, W, 3) if it has colours.

    Raises
    ------
    UnreadableImage
        As :func:`decode`.
    """
    with _failures_named(name):
        pixels, _ = _decoded(source, page, colours)
        return grey_levels(pixels.reshape(len(pixels), -1)).reshape(pixels.shape)


def _decoded(source: Path | bytes, page: int, of: _Of) -> tuple[Pixels, int]:
    if _is_tiff(source):
        return _decode_tiff(source, page, of)
    return _decode_png_or_jpeg(source, page, of), 1


@contextmanager
def _failures_named(name: str) -> Iterator[None]:
    whose = f"{name}: " if name else ""
    try:
        yield
    except UnreadableImage as error:
        raise UnreadableImage(f"{whose}{error}") from error
    except MemoryError as error:
        raise UnreadableImage(
            f"{whose}the memory is full ({error or 'while it was read'}); end other programs, or "
            "cut the image into tiles."
        ) from error
    except Exception as error:  # broad: decoders raise anything on damaged foreign bytes
        raise UnreadableImage(f"{whose}{_why_undecodable(error)}") from error


def _why_undecodable(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read ({error.strerror}); check the disk or the share it lies on."
    # What Pillow says of a file that is cut off differs by format and adds nothing.
    why = "" if isinstance(error, OSError) else f" ({error or type(error).__name__})"
    return (
        f"damaged or incomplete{why}; copy the file again from the microscope, or save it anew as "
        "TIFF or PNG."
    )


def _is_tiff(source: Path | bytes) -> bool:
    head = _head_of(source)
    if not head:
        raise UnreadableImage("the file is empty (0 bytes); copy it again.")
    return head in MAGIC


def _head_of(source: Path | bytes, size: int = 4) -> bytes:
    try:
        with _opened(source) as file:
            return file.read(size)
    except OSError as error:
        raise UnreadableImage(
            f"it cannot be opened ({error.strerror}); check its path and rights."
        ) from error


def _opened(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _stream(source: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _decode_tiff(source: Path | bytes, number: int, of: _Of) -> tuple[Pixels, int]:
    import tifffile

    with tifffile.TiffFile(_stream(source)) as tiff:
        page = checked_page(tiff, number)
        pixels = of(colours_of(page))
        orientation = _orientation(page.tags.valueof(ORIENTATION_TAG))
        return upright(pixels, orientation), len(tiff.pages)


def _orientation(told: object) -> int:
    """Return the orientation in a tag; a tag that is no number counts as missing."""
    return told if isinstance(told, int) else 1


def is_turned(path: Path) -> bool:
    """Tell whether reading turns or mirrors the first page to make it upright.

    Tools that ignore its orientation tag see another image than ``read_image`` returns.

    Raises
    ------
    UnreadableImage
        The orientation cannot be read.
    """
    with _failures_named(path.name):
        if _is_tiff(path):
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                told = tiff.pages[0].aspage().tags.valueof(ORIENTATION_TAG)
        else:
            with open_png_or_jpeg(path) as image:
                told = _told_by_exif(image, path)
    return _orientation(told) in _TURNED


def _told_by_exif(image: Image, source: Path | bytes) -> object:
    """Return the orientation tag of a PNG or JPEG without decoding pixels.

    EXIF that cannot be parsed counts as missing: the pixels may still be whole.
    """
    from PIL import Image

    try:
        if image.format == "PNG":
            image = open_png_or_jpeg(_without_pixels(source))
        return Image.Image.getexif(image).get(ORIENTATION_TAG)
    except (SyntaxError, ValueError, struct.error):
        return None


def _without_pixels(source: Path | bytes) -> bytes:
    """Return the PNG without its pixels: Pillow decodes them to reach metadata behind them."""
    with _opened(source) as file:
        kept = [file.read(8)]
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind in _WORDS:
                kept += head, file.read(size + 4)
            else:
                file.seek(size + 4, io.SEEK_CUR)
    return b"".join(kept)


def _decode_png_or_jpeg(source: Path | bytes, number: int, of: _Of) -> Pixels:
    check_page(number, 1)
    with open_png_or_jpeg(source) as image:
        orientation = _orientation(_told_by_exif(image, source))
        return upright(of(_pixels_of(image, source)), orientation)


def open_png_or_jpeg(source: Path | bytes) -> Image:
    """Open a PNG or JPEG without decoding it yet.

    Raises
    ------
    UnreadableImage
        It is neither, or Pillow cannot read this kind of JPEG, or it has too many pixels for
        Pillow.
    """
    from PIL import Image, UnidentifiedImageError

    # Pillow warns from half the number of pixels that it refuses. The warning is muted for good:
    # muting it for a moment would change the warning filters of all other threads, too.
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


def _pixels_of(image: Image, source: Path | bytes) -> Pixels:
    """Return the pixels of a PNG or JPEG at the file's own depth."""
    if image.format == "PNG" and _head_of(source, PNG_DEPTH_AT + 1)[-1] > 8:
        # Pillow would round 16-bit colours to 8 bits.
        import imagecodecs

        content = source if isinstance(source, bytes) else source.read_bytes()
        return np.asarray(imagecodecs.png_decode(content))
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return np.asarray(image)
    return np.asarray(image.convert("L" if image.mode == "1" else "RGB"))
