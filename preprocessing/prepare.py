"""From an image to what a detector sees: the one path for serving, training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from preprocessing.arrays import Float32, Float64, Grey
from preprocessing.background import cleaned
from preprocessing.groups import ANY_SHARPNESS, ContrastGroups
from preprocessing.histograms import histogram_of
from preprocessing.images import ImageRecord
from preprocessing.matching import match, stretch
from preprocessing.quantiles import QuantileProfile
from preprocessing.resizing import resized, resized_part
from preprocessing.sharpness import sharpness_of

#: Flag of an image unlike all that the contrast groups were fitted on.
UNLIKE_TRAINING = "unlike-training"
#: Flag of an image with a single grey level.
CONSTANT = "constant"
#: Flag of an image with so few grey levels that cells are lost in it.
FEW_LEVELS = "few-levels"
#: Flag of an image far less sharp than those that the contrast groups were fitted on.
OUT_OF_FOCUS = "out-of-focus"
#: Flag of an image in which the size of the cells was looked for and not found.
SIZE_UNKNOWN = "size-unknown"


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as a detector sees it, and how to map boxes back to the raw image.

    Parameters
    ----------
    pixels
        Shape (H', W'), in [0, 1].
    scale
        Prepared pixels per raw pixel, as requested; :meth:`to_raw` uses the exact factors.
    group, distance
        The contrast group, and the image's distance from its centre (``groups.Assignment``).
    flags
        What is unusual: ``unlike-training``, ``constant``, ``few-levels``, ``out-of-focus``,
        ``size-unknown``, ``noisy``.
    raw_height, raw_width
        Size of the raw image.
    enlargement
        How many times larger a detector is to see it. The image is enlarged part by part: enlarging
        all of it at once would take nine times the memory and more.
    """

    pixels: Float32
    scale: float
    group: str
    distance: float
    flags: tuple[str, ...]
    raw_height: int
    raw_width: int
    enlargement: float = 1.0

    @property
    def seen_shape(self) -> tuple[int, int]:
        """Rows and columns of what a detector is to see."""
        return _scaled(self.pixels, self.enlargement)

    @property
    def growth(self) -> Float64:
        """The exact factors from prepared to seen edges of a box, shape (4,)."""
        height, width = self.seen_shape
        return np.array([width / self.width, height / self.height] * 2)

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def to_raw(self, xyxy: ArrayLike) -> Float32:
        """Return boxes of the prepared image in pixels of the raw image, clipped to it.

        Parameters
        ----------
        xyxy
            Shape (N, 4), half-open edges in prepared pixels.

        Returns
        -------
        Shape (N, 4).
        """
        edges = _edges(xyxy) / self._per_raw_pixel
        size = [self.raw_width, self.raw_height] * 2
        return np.clip(edges, 0, size).astype(np.float32)

    def seen_from_raw(self, xyxy: ArrayLike) -> Float32:
        """Return boxes of the raw image, shape (N, 4), in pixels of what a detector is to see."""
        return (_edges(xyxy) * self._per_raw_pixel * self.growth).astype(np.float32)

    @property
    def _per_raw_pixel(self) -> Float64:
        # A prepared image has whole pixels, so the factors differ slightly from `scale`.
        return np.array([self.width / self.raw_width, self.height / self.raw_height] * 2)


def prepare(image: ImageRecord, groups: ContrastGroups) -> Prepared:
    """Turn an image into what a detector sees.

    Specks are removed, and the background is evened out if the groups' mode asks for it. Then the
    image is matched to the template of its contrast group. Without groups, or with a strength of 0,
    its own percentiles (0.1 % and 99.9 %) are stretched to [0, 1] instead. A constant image becomes
    one grey. No image that could be read is refused.

    Parameters
    ----------
    image
        As read by ``images.read_image``.
    groups
        The contrast groups of the model version, or ``ContrastGroups.none()``.

    Returns
    -------
    At scale 1; see :func:`rescaled` and :func:`seen_at`.
    """
    pixels = cleaned(image.pixels, groups.config)
    histogram = histogram_of(pixels)
    assignment = groups.assign(QuantileProfile.of(histogram))
    template = groups.template_of(assignment.group)
    marks = {
        UNLIKE_TRAINING: assignment.outlier,
        CONSTANT: histogram.is_constant,
        FEW_LEVELS: histogram.is_coarse,
        OUT_OF_FOCUS: _is_out_of_focus(image.pixels, groups.least_sharpness),
    }
    if template is None or not groups.config.strength:
        seen = stretch(pixels, histogram)
    else:
        seen = match(pixels, histogram, template, groups.config)
    return Prepared(
        pixels=seen,
        scale=1.0,
        group=assignment.group,
        distance=assignment.distance,
        flags=tuple(flag for flag, is_set in marks.items() if is_set),
        raw_height=image.height,
        raw_width=image.width,
    )


def rescaled(prepared: Prepared, scale: float) -> Prepared:
    """Return the same image at another scale: prepared pixels per raw pixel, above 0.

    It is smoothed before it shrinks. It is sharp only if it shrinks, or had scale 1.
    """
    if scale == prepared.scale:
        return prepared
    pixels = _resize(prepared.pixels, scale / prepared.scale)
    return replace(prepared, pixels=pixels, scale=scale)


def seen_at(prepared: Prepared, scale: float) -> Prepared:
    """Return the image to be seen at a scale: shrunk now, or enlarged later part by part."""
    if scale <= prepared.scale:
        return rescaled(prepared, scale)
    return replace(prepared, enlargement=scale / prepared.scale)


def part_seen(prepared: Prepared, rows: slice, columns: slice) -> Prepared:
    """Return a part of what a detector is to see, enlarged, as an image of its own.

    Pixels are copied only if they are enlarged.
    """
    scale = prepared.scale * prepared.enlargement
    if prepared.enlargement == 1:
        pixels = prepared.pixels[rows, columns]
    else:
        pixels = resized_part(prepared.pixels, prepared.seen_shape, rows, columns)
        pixels = np.clip(pixels, 0, 1)
    raw_height, raw_width = (max(1, round(side / scale)) for side in pixels.shape)
    return replace(
        prepared,
        pixels=pixels,
        scale=scale,
        raw_height=raw_height,
        raw_width=raw_width,
        enlargement=1.0,
    )


def _is_out_of_focus(pixels: Grey, least_sharpness: float) -> bool:
    return least_sharpness > ANY_SHARPNESS and sharpness_of(pixels) < least_sharpness


def _edges(xyxy: ArrayLike) -> Float64:
    return np.asarray(xyxy, np.float64).reshape(-1, 4)


def _resize(pixels: Float32, scale: float) -> Float32:
    if scale <= 0:
        raise ValueError(f"scale must be above 0, not {scale}")
    shape = _scaled(pixels, scale)
    if shape == pixels.shape:
        return pixels
    return np.clip(resized(pixels, shape), 0, 1)


def _scaled(pixels: Float32, scale: float) -> tuple[int, int]:
    height, width = (max(1, round(side * scale)) for side in pixels.shape)
    return height, width
