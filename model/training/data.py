"""Labelled images as a training sees them: prepared pixels, boxes and labels, read once."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.atomic import new_file
from model.labels.examples import LabelledImage
from model.labels.sides import content_hash
from preprocessing.arrays import Boolean, Float32, Int64
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared, part_seen, prepare, seen_at

log = logging.getLogger(__name__)

#: Narrower boxes (in pixels of the prepared image) cannot be learned: slivers at the border.
_NARROWEST_PX = 1.0
#: Bytes of prepared pixels in memory, for all processes of a training together.
KEEP_BYTES = 1_000_000_000
#: Bytes of the disk that files of prepared pixels leave free: versions and checkpoints need room.
_LEAVE_BYTES = 2_000_000_000
#: Rows that are enlarged at once: all together would take several times an image's memory, and
#: longer.
_STRIP_PX = 64


@dataclass(frozen=True, eq=False)
class Example:
    """One image to learn from.

    Parameters
    ----------
    pixels
        Shape (H, W), float32 or float16, in [0, 1].
    xyxy_px
        Shape (N, 4), in pixels of ``pixels``, inside it.
    labels
        Shape (N,), in 1..K, since torchvision's 0 is the background; ``model.rcnn.cut.CUT`` for a
        cell of which too little is seen.
    """

    pixels: Float32 | NDArray[np.float16]
    xyxy_px: Float32
    labels: Int64


@dataclass(frozen=True, eq=False)
class _Filed:
    """An example whose pixels are in a file, mapped anew each time: a map is an open file."""

    path: Path
    xyxy_px: Float32
    labels: Int64

    def read(self) -> Example:
        return Example(np.load(self.path, mmap_mode="r"), self.xyxy_px, self.labels)


class Examples:
    """The examples of a training, prepared when first asked for.

    Up to ``keep_bytes`` are kept in memory as float16, the others in files that are written strip
    by strip, so that memory stays bounded however large the project grows. Where the disk is
    nearly full, or there is no folder, an image is prepared anew each time.

    Parameters
    ----------
    images
        Those of the train side, each box of one of ``classes``.
    groups, scale
        As serving will have them.
    keep_bytes
        How much memory the pixels may take.
    folder
        Where files may be kept; trainings on the same images may share it.
    leave_bytes
        How much of the folder's disk stays free.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        groups: ContrastGroups,
        classes: Sequence[str],
        scale: float,
        keep_bytes: int = KEEP_BYTES,
        folder: Path | None = None,
        leave_bytes: int = _LEAVE_BYTES,
    ) -> None:
        self._images = images
        self._groups = groups
        self._labels = {name: i + 1 for i, name in enumerate(classes)}
        self._scale = scale
        self._room = keep_bytes
        self._folder = folder
        self._leave_bytes = leave_bytes
        self._kept: dict[int, Example | _Filed] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Example:
        if (there := self._kept.get(index)) is not None:
            return there.read() if isinstance(there, _Filed) else there
        image = self._images[index]
        prepared = seen_at(prepare(image.read(), self._groups), self._scale)
        boxes = self._boxes(image, prepared)
        size = math.prod(prepared.seen_shape) * np.dtype(np.float16).itemsize
        if size > self._room and (path := self._filed(image, prepared, size)):
            self._kept[index] = filed = _Filed(path, *boxes)
            return filed.read()
        example = Example(_as_seen(prepared), *boxes)
        if size <= self._room:
            self._room -= size
            self._kept[index] = example
        return example

    def _boxes(self, image: LabelledImage, prepared: Prepared) -> tuple[Float32, Int64]:
        labels = np.array([self._labels[box.label] for box in image.boxes], np.int64)
        edges, wide = inside(prepared.seen_from_raw(image.xyxy_px), prepared.seen_shape)
        return edges[wide], labels[wide]

    def _filed(self, image: LabelledImage, prepared: Prepared, size: int) -> Path | None:
        """Return the file of an image's pixels, writing it where it is missing; None: no room."""
        if self._folder is None:
            return None
        path = self._folder / self._file_name(image)
        if not path.exists():
            if not self._has_room(self._folder, size):
                log.warning("the disk is nearly full: a step prepares its images anew, slower")
                self._folder = None
                return None
            _write(path, prepared)
        return path

    def _file_name(self, image: LabelledImage) -> str:
        seen = f"{content_hash(*image.key)} {self._groups.sha256} {self._scale}"
        return f"{hashlib.sha256(seen.encode()).hexdigest()}.npy"

    def _has_room(self, folder: Path, size: int) -> bool:
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(folder).free - size >= self._leave_bytes


def _as_seen(prepared: Prepared) -> NDArray[np.float16]:
    """Return the pixels that a detector is to see."""
    seen = np.empty(prepared.seen_shape, np.float16)
    for rows, pixels in _strips(prepared):
        seen[rows] = pixels
    return seen


def _write(path: Path, prepared: Prepared) -> None:
    """Write what :func:`_as_seen` returns as ``np.save`` would, without ever holding it whole."""
    kind = np.lib.format.dtype_to_descr(np.dtype(np.float16))
    header = {"descr": kind, "fortran_order": False, "shape": prepared.seen_shape}
    with new_file(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, pixels in _strips(prepared):
            pixels.tofile(file)


def _strips(prepared: Prepared) -> Iterator[tuple[slice, NDArray[np.float16]]]:
    """Yield strips of what a detector is to see, each enlarged by itself, and their rows."""
    height, width = prepared.seen_shape
    for top in range(0, height, _STRIP_PX):
        rows = slice(top, min(top + _STRIP_PX, height))
        yield rows, part_seen(prepared, rows, slice(0, width)).pixels.astype(np.float16)


def inside(xyxy_px: Float32, shape: tuple[int, ...]) -> tuple[Float32, Boolean]:
    """Clip boxes, shape (N, 4), to an image of ``shape`` (H, W); say which are still wide enough.

    Returns
    -------
    The clipped boxes, shape (N, 4), float32, and shape (N,), bool.
    """
    height, width = shape[:2]
    edges = np.clip(xyxy_px, 0, np.array([width, height, width, height], np.float32))
    sides = edges[:, 2:] - edges[:, :2]
    return edges.astype(np.float32), sides.min(axis=1) >= _NARROWEST_PX
