"""Evening out the background: undoes what vignettes and slanted light do within one image.

Tare 2020, figure 16, shows such an image. Matching whole histograms cannot mend it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.arrays import Float32, Float64, Grey, Int64
from preprocessing.blocks import row_blocks
from preprocessing.contrast import ContrastConfig
from preprocessing.specks import without_specks

#: The background is a polynomial down and across. It is fitted with these degrees in turn, and the
#: last one stays: a vignette has degree two, and what bends much faster may be a cell. Tiles full
#: of cells are outliers, found while the polynomial is still too stiff to follow them.
DEGREES = (1, 1, 1, 2, 2, 3, 3, 3)

#: Tiles along the shorter side, the least width of a tile, and samples along a tile's side.
TILES = 12
NARROWEST_TILE_PX = 8
SAMPLES_A_TILE = 16

#: This share of the cells' range is added to the background before the image is divided by it. A
#: far brighter background (bright field) is thus divided out, a black one (dark field) subtracted.
ADDED = 0.5

RANGE = (0.001, 0.999)
FULL = 65535


def cleaned(pixels: Grey, config: ContrastConfig) -> Grey:
    """Return the pixels to be matched: without specks, and evened out if the mode asks for it."""
    pixels = without_specks(pixels)
    return even_out(pixels) if config.evens_background else pixels


def even_out(pixels: Grey) -> Grey:
    """Return the image with its background, and with it the contrast of its cells, made even.

    Parameters
    ----------
    pixels
        Shape (H, W). A constant image, or one too small to have a background, is returned as it is.

    Returns
    -------
    Shape (H, W), uint16: the image's own range fills the middle third of the 16 bits.
    """
    sample = _sampled(pixels)
    low, high = (float(level) for level in np.quantile(sample.levels, RANGE))
    if low == high or min(pixels.shape) < 2 * NARROWEST_TILE_PX:
        return pixels
    surface = _fit(sample, low, high)
    cells = np.quantile(sample.levels - surface.at(sample.rows, sample.columns), RANGE)
    added = np.float32(max(ADDED * np.ptp(cells), 1e-3 * (high - low)) - min(low, 0.0))

    def evened(levels: Float32, rows: Float64, columns: Float64) -> Float32:
        background = surface.at(rows, columns)
        return (levels - background) / (background + added)

    flat_low, flat_high = np.quantile(evened(sample.levels, sample.rows, sample.columns), RANGE)
    scale = np.float32(FULL / 3 / max(flat_high - flat_low, 1e-9))
    darkest = np.float32(2 * flat_low - flat_high)
    result = np.empty(pixels.shape, np.uint16)
    all_columns = _places(np.arange(pixels.shape[1]), pixels.shape[1])
    for rows in row_blocks(pixels.shape):
        places = _places(np.arange(pixels.shape[0])[rows], pixels.shape[0])
        flat = evened(pixels[rows].astype(np.float32), places, all_columns)
        result[rows] = np.clip((flat - darkest) * scale, 0, FULL)
    return result


@dataclass(frozen=True, eq=False)
class _Sample:
    """Every few pixels of an image: levels, shape (h, w), their places, and a tile's side."""

    levels: Float32
    rows: Float64
    columns: Float64
    tile: int


@dataclass(frozen=True, eq=False)
class _Surface:
    """A polynomial over the image; each side of the image runs from -1 to 1.

    Its values are clipped to the image's own range, ``low`` to ``high``.
    """

    coefficients: Float64
    low: float
    high: float

    def at(self, rows: Float64, columns: Float64) -> Float32:
        """Return its levels, shape (len(rows), len(columns))."""
        down, across = self.coefficients.shape
        left = _powers(rows, down) @ self.coefficients
        levels = left.astype(np.float32) @ _powers(columns, across).T.astype(np.float32)
        return np.clip(levels, np.float32(self.low), np.float32(self.high), out=levels)


def _sampled(pixels: Grey) -> _Sample:
    tile = max(min(pixels.shape) // TILES, NARROWEST_TILE_PX)
    step = max(tile // SAMPLES_A_TILE, 1)
    rows, columns = (np.arange(step // 2, side, step) for side in pixels.shape)
    return _Sample(
        pixels[step // 2 :: step, step // 2 :: step].astype(np.float32),
        _places(rows, pixels.shape[0]),
        _places(columns, pixels.shape[1]),
        tile // step,
    )


def _fit(sample: _Sample, low: float, high: float) -> _Surface:
    """Fit the polynomial to the tiles' medians; those far from it count ever less."""
    medians, rows, columns = _tile_medians(sample)
    weights = np.ones(medians.size)
    for degree in DEGREES:
        shape = min(degree + 1, len(rows)), min(degree + 1, len(columns))
        basis = np.kron(_powers(rows, shape[0]), _powers(columns, shape[1]))
        fitted = np.linalg.lstsq(basis * weights[:, None], medians * weights, rcond=None)[0]
        away = np.abs(medians - basis @ fitted)
        weights = 1 / (1 + (away / (2 * np.median(away) + 1e-6 * (high - low))) ** 2)
    return _Surface(np.asarray(fitted, np.float64).reshape(shape), low, high)


def _tile_medians(sample: _Sample) -> tuple[Float64, Float64, Float64]:
    """Return the medians of all tiles, row by row, and the places of the tiles' middles."""
    tile = min(sample.tile, *sample.levels.shape)
    down, across = (side // tile for side in sample.levels.shape)
    whole = sample.levels[: down * tile, : across * tile]
    tiles = whole.reshape(down, tile, across, tile).swapaxes(1, 2).reshape(down * across, -1)
    rows, columns = (
        places[: count * tile].reshape(count, tile).mean(axis=1)
        for places, count in ((sample.rows, down), (sample.columns, across))
    )
    return np.median(tiles, axis=1).astype(np.float64), rows, columns


def _places(pixels: Int64, side: int) -> Float64:
    """Return the places of the middles of pixels, with the image's side running from -1 to 1."""
    return np.asarray((2 * pixels + 1) / side - 1)


def _powers(places: Float64, count: int) -> Float64:
    return np.asarray(np.polynomial.legendre.legvander(places, count - 1))
