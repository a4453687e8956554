"""Variations that fit micrographs, where up is as good as down: none of them smears a box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.data import Example, inside

_VISIBLE = 0.5


def vary(
    examples: Sequence[Example],
    rng: np.random.Generator,
    crop_px: int,
    toning: float = 0.15,
    invert: float = 0.0,
) -> list[Example]:
    """Return a varied batch.

    Each example is cropped, flipped and toned by itself; a quarter turn is taken by all of a batch
    or by none, since images of mixed orientation would be padded to a square.

    Parameters
    ----------
    crop_px
        Longest side of the result; 0: no crop.
    toning, invert
        As ``tone`` and ``invert`` of ``model.config.TrainConfig``.
    """
    turned = bool(rng.random() < 0.5)
    varied = []
    for example in examples:
        cropped = crop(example, crop_px, rng) if crop_px else example
        flipped = flip(cropped, across=rng.random() < 0.5, down=rng.random() < 0.5)
        toned = tone(transpose(flipped) if turned else flipped, rng, toning)
        varied.append(inverted(toned) if rng.random() < invert else toned)
    return varied


def flip(example: Example, across: bool, down: bool) -> Example:
    """Mirror left to right (``across``), top to bottom (``down``), both or neither."""
    pixels, xyxy = example.pixels, example.xyxy_px
    height, width = pixels.shape
    if across:
        pixels = pixels[:, ::-1]
        xyxy = np.stack([width - xyxy[:, 2], xyxy[:, 1], width - xyxy[:, 0], xyxy[:, 3]], axis=1)
    if down:
        pixels = pixels[::-1]
        xyxy = np.stack([xyxy[:, 0], height - xyxy[:, 3], xyxy[:, 2], height - xyxy[:, 1]], axis=1)
    return Example(pixels, xyxy, example.labels)


def transpose(example: Example) -> Example:
    """Swap rows and columns; with the flips this gives the quarter turns."""
    return Example(example.pixels.T, example.xyxy_px[:, [1, 0, 3, 2]], example.labels)


def crop(example: Example, side: int, rng: np.random.Generator) -> Example:
    """Cut a window of at most ``side`` pixels a side; boxes at least half visible stay.

    Half of the windows are centred about a random box, so that sparse images show their cells.
    """
    height, width = example.pixels.shape
    if height <= side and width <= side:
        return example
    left, top = _corner(example, side, rng)
    pixels = example.pixels[top : top + side, left : left + side]
    edges, wide = inside(example.xyxy_px - np.array([left, top] * 2, np.float32), pixels.shape)
    kept = wide & (_area(edges) >= _VISIBLE * _area(example.xyxy_px))
    return Example(pixels, edges[kept], example.labels[kept])


def _corner(example: Example, side: int, rng: np.random.Generator) -> tuple[int, int]:
    height, width = example.pixels.shape
    room = np.array([max(width - side, 0), max(height - side, 0)])
    corner = rng.integers(0, room + 1)
    if len(example.xyxy_px) and rng.random() < 0.5:
        box = example.xyxy_px[rng.integers(len(example.xyxy_px))]
        centre = (box[:2] + box[2:]) / 2
        corner = np.clip(centre - side / 2, 0, room).astype(int)
    return int(corner[0]), int(corner[1])


def _area(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def tone(example: Example, rng: np.random.Generator, toning: float) -> Example:
    """Change gain (about the mean) and gamma by up to ``toning``, as lamps and cameras do."""
    gain, gamma = rng.uniform(-toning, toning) + 1, np.exp(rng.uniform(-toning, toning))
    pixels = example.pixels.astype(np.float32)
    mean = pixels.mean()
    toned = np.clip(mean + (pixels - mean) * np.float32(gain), 0, 1) ** np.float32(gamma)
    return Example(toned, example.xyxy_px, example.labels)


def inverted(example: Example) -> Example:
    """Exchange dark and bright."""
    return Example(1 - example.pixels.astype(np.float32), example.xyxy_px, example.labels)
