"""Fits contrast groups to a folder of images, and matches the folder to them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from backend.datasets import histogram_figures
from backend.datasets.naming import UniqueNames
from backend.datasets.reading import ImageReader, left_out_flag, page_flags
from backend.datasets.result_folder import MATCHED, require_empty
from backend.datasets.writing import as_csv, write_whole
from backend.errors import BadRequest
from model.progress import Advance
from model.wording import counted, first_of
from preprocessing.background import cleaned
from preprocessing.contrast import ContrastConfig
from preprocessing.fitting import Traits, fit_groups, traits_of
from preprocessing.groups import Assignment, ContrastGroups
from preprocessing.histograms import histogram_of
from preprocessing.images import ImageRecord, encode_png, read_image
from preprocessing.prepare import Prepared, prepare

Bits = Literal[8, 16]
Format = Literal["png", "tiff"]

TABLE = MATCHED
COLUMNS = ("image", "matched", "group", "distance", "flags")


@dataclass(frozen=True)
class FittedFolder:
    """A folder's groups, the group of each readable image, and what was left out."""

    groups: ContrastGroups
    assigned: dict[Path, Assignment]
    notes: tuple[str, ...]

    def members(self, group: str) -> list[Path]:
        """Return a group's images, the most typical one first."""
        inside = [path for path, found in self.assigned.items() if found.group == group]
        return sorted(inside, key=lambda path: self.assigned[path].distance)


@dataclass(frozen=True)
class MatchedFolder:
    """The number of matched images, and what was left out."""

    images: int
    notes: tuple[str, ...]


def fit_folder(
    files: Sequence[Path], config: ContrastConfig, named: Sequence[Path], advance: Advance
) -> FittedFolder:
    """Fit contrast groups to image files; each is read once.

    Parameters
    ----------
    named
        The files whose histograms are the templates, for ``template="image"``.
    advance
        Called with the fraction done and the name of the image.

    Raises
    ------
    BadRequest
        No image can be read.
    UnreadableImage
        A named image cannot be read.
    GroupsError
        The named images have a single grey level.
    """
    # Templates come from the pixels that are matched: a named image is evened out like the others.
    histograms = [histogram_of(cleaned(read_image(path).pixels, config)) for path in named]
    reader, traits = ImageReader(), dict[Path, Traits]()
    for path, record in _readable(files, reader, advance):
        traits[path] = traits_of(record, config)
    groups = fit_groups(list(traits.values()), config, histograms)
    assigned = {path: groups.assign(one.profile) for path, one in traits.items()}
    return FittedFolder(groups, assigned, tuple(reader.notes))


def picture_of(fitted: FittedFolder) -> bytes:
    """Return a PNG of each group's most typical image, before and after."""
    rows = []
    for group in fitted.groups.names:
        if members := fitted.members(group):
            title = f"{group}: {counted(len(members), 'image')}, such as {members[0].name}"
            image = read_image(members[0])
            rows.append(histogram_figures.before_and_after(title, image, fitted.groups))
    return histogram_figures.draw(rows)


def match_into(
    out: Path,
    files: Sequence[Path],
    groups: ContrastGroups,
    bits: Bits,
    suffix: Format,
    advance: Advance,
) -> MatchedFolder:
    """Write each image as a detector sees it, and a table of groups, distances and flags.

    An image that cannot be read gets a row too, without a group.

    Parameters
    ----------
    out
        A new or empty folder: no image of the user is ever overwritten.

    Raises
    ------
    BadRequest
        ``out`` is not empty, or no image can be read.
    """
    require_empty(out)
    names, reader, rows = UniqueNames(), ImageReader(), list[tuple[object, ...]]()
    for path, record in _readable(files, reader, advance):
        prepared, name = prepare(record, groups), f"{names.stem(path.name)}.{suffix}"
        write_whole(out / name, encode(prepared, bits, suffix))
        flags = "; ".join((*page_flags(record), *prepared.flags))
        rows.append((path.name, name, prepared.group, f"{prepared.distance:.4f}", flags))
    left_out = [
        (path.name, "", "", "", left_out_flag(why)) for path, why in reader.left_out.items()
    ]
    write_whole(out / TABLE, as_csv([COLUMNS, *rows, *left_out]))
    return MatchedFolder(len(rows), tuple(reader.notes))


def encode(prepared: Prepared, bits: Bits, suffix: Format) -> bytes:
    """Return a prepared image as a file of 8 or 16 bits, black at grey 0 and white at 1."""
    levels = np.rint(prepared.pixels * (2**bits - 1))
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    pixels = levels.astype(np.uint8) if bits == 8 else levels.astype(np.uint16)
    if suffix == "png":
        return encode_png(pixels)
    with io.BytesIO() as file:
        tifffile.imwrite(file, pixels, compression="zlib")
        return file.getvalue()


def _readable(
    files: Sequence[Path], reader: ImageReader, advance: Advance
) -> Iterator[tuple[Path, ImageRecord]]:
    """Yield each image that can be read; the reader keeps the notes on the others.

    Raises
    ------
    BadRequest
        No image could be read; raised after the last one.
    """
    read = 0
    for done, path in enumerate(files):
        advance(done / len(files), path.name)
        if (record := reader.read(path)) is not None:
            read += 1
            yield path, record
    if not read:
        raise BadRequest("\n  ".join(["None of the images can be read:", *first_of(reader.notes)]))
