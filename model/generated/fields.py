"""Generated fields of cells with exact truth, for the demo project, the tests and the starter.

The starter learns from them beside real images. They show that the loop works, not how well: no
figure about real cells may be measured on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.boxes import Box
from model.generated import optics, painting
from model.generated.layout import Crowd, lay_out
from model.generated.outlines import Outline
from model.generated.painting import Disc
from preprocessing.arrays import Boolean, Float64

#: Rows and columns.
_Extent = tuple[slice, slice]

#: Share of its level that the fainter of two translucent cells adds where they overlap.
_SHADE = 0.4
#: Least standard deviation of a cell within its box, in those of the noise: less would not be seen.
_SEEN = 1.0
#: Standard deviation of the microscope's blur, in pixels.
_BLUR_PX = 0.8


@dataclass(frozen=True)
class FieldStyle:
    """How a field looks; levels are parts of the full range of grey levels.

    Parameters
    ----------
    contrast
        Level of a cell above the background (below it where ``polarity`` is ``dark``).
    background
        Level of the background at the field's centre.
    texture
        Standard deviation of a cell's mottling, as a part of its contrast.
    ring
        0: filled; 1: a rim round an inside at the background's level, as in phase contrast.
    noise
        Standard deviation of the camera's noise.
    unevenness
        Rise of the illumination across the field.
    backdrop, backdrop_grain
        Mottling of what the cells lie on: its standard deviation, in those of the usual cell, and
        its width in mean radii.
    fibres, specks, smudges, debris
        Clutter: bright curved lines, dots of a few pixels, blurred blobs as large as cells, and
        small ragged clumps; how many of each, as a part of the number of cells.
    radius, spread
        Mean radius of a cell in pixels and its relative standard deviation.
    touching
        Part of the cells that are laid against another one.
    overlap
        How far touching cells may lie over one another, as a part of their distance. They are then
        translucent, and a box encloses all of a cell.
    outline
        How the cells are shaped.
    grains
        How much stronger than a cell its granules are.
    thinning
        Part of its level, in [0, 1], that a cell loses towards its edge, where it spreads flat.
    nucleus
        How strongly a cell's nucleus is seen in it.
    rounded
        Part of the cells that are smaller, round and several times as thick, like dividing ones: so
        thick that phase contrast shows half of them bright instead of dark.
    halo, halo_width
        How strongly each level is seen against those about it, and how far that reaches in mean
        radii (see ``model.generated.optics``).
    relief
        Part, in [0, 1], to which slopes are seen instead of levels.
    bits
        Depth of the image.
    """

    name: str
    contrast: float
    polarity: Literal["bright", "dark"] = "bright"
    background: float = 0.15
    texture: float = 0.25
    ring: float = 0.0
    noise: float = 0.01
    unevenness: float = 0.03
    backdrop: float = 0.0
    backdrop_grain: float = 0.5
    fibres: float = 0.0
    specks: float = 0.1
    smudges: float = 0.0
    radius: float = 13.0
    spread: float = 0.2
    touching: float = 0.3
    overlap: float = 0.0
    outline: Outline = painting.ROUND
    grains: float = 0.0
    thinning: float = 0.0
    nucleus: float = 0.0
    rounded: float = 0.0
    halo: float = 0.0
    halo_width: float = 0.4
    relief: float = 0.0
    debris: float = 0.0
    bits: Literal[8, 16] = 8

    @property
    def crowd(self) -> Crowd:
        return Crowd(self.radius, self.spread, self.touching, self.overlap)


#: The contrast groups of the demo project.
LOW = FieldStyle("low", 0.09, background=0.10, noise=0.010, unevenness=0.03)
MEDIUM = FieldStyle("medium", 0.28, background=0.14, noise=0.012, unevenness=0.05)
HIGH = FieldStyle("high", 0.62, background=0.12, noise=0.014, unevenness=0.06)

#: The classical detector finds nearly all of these cells: a champion that is hard to beat.
EASY = FieldStyle(
    "easy", 0.5, texture=0.1, noise=0.01, unevenness=0.02, specks=0.0, spread=0.12, touching=0.05
)
#: Rimmed cells among blurred blobs and fibres, which brightness cannot tell apart; a detector can.
HARD = FieldStyle(
    "hard",
    0.2,
    background=0.4,
    texture=0.3,
    ring=0.9,
    noise=0.015,
    unevenness=0.2,
    fibres=0.12,
    specks=0.5,
    smudges=1.3,
    spread=0.15,
    touching=0.2,
)


@dataclass(frozen=True, eq=False)
class Field:
    """A generated image and its truth.

    Parameters
    ----------
    pixels
        Shape (H, W), uint8 or uint16.
    boxes
        The tight box of what is seen of each cell, half-open, in pixels.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    boxes: tuple[Box, ...]


def generate_field(
    seed: int, shape: tuple[int, int], cells: int, style: FieldStyle, label: str = "Nucleus"
) -> Field:
    """Generate a field of cells; the same seed gives the same field.

    Parameters
    ----------
    shape
        (H, W) in pixels.
    cells
        How many to lay out; their mean radius shrinks where they would cover too much.
    label
        The class of the boxes.
    """
    rng = np.random.default_rng(seed)
    light_from = rng.spawn(1)[0].uniform(0, 2 * np.pi)  # radians
    places = lay_out(rng, shape, cells, style.crowd)
    cover, extents = _paint(rng, shape, places, style, light_from)
    sign = 1.0 if style.polarity == "bright" else -1.0
    light = style.background + style.unevenness * painting.illumination(rng, shape)
    clutter = _clutter(rng, shape, cells, style)
    things = sign * style.contrast * _seen(cover + clutter, style, light_from)
    if style.backdrop:
        usual = np.median([things[box].std() for box in extents] or [style.contrast])
        grain = max(1.0, style.backdrop_grain * style.radius)
        light = light + style.backdrop * usual * painting.smooth_noise(rng, shape, grain)
    # The microscope's blur comes before the camera's noise.
    noisy = ndimage.gaussian_filter(light + things, _BLUR_PX) + rng.normal(0, style.noise, shape)
    most = 2**style.bits - 1
    levels = np.clip(noisy * most, 0, most).round()
    pixels = levels.astype(np.uint8 if style.bits == 8 else np.uint16)
    return Field(pixels, _boxes(extents, label))


def dark_on_bright(style: FieldStyle) -> FieldStyle:
    """Return the same style with dark cells on a bright background, as on a stained slide."""
    return replace(style, polarity="dark", background=1 - style.background)


def _paint(
    rng: np.random.Generator,
    shape: tuple[int, int],
    places: list[Disc],
    style: FieldStyle,
    light_from: float,
) -> tuple[Float64, list[_Extent]]:
    """Return the cells' levels, and the rows and columns of what is seen of each."""
    cover, owner = np.zeros(shape), np.zeros(shape, np.int32)
    extents: list[_Extent | None] = []
    for number, place in enumerate(places, 1):
        levels, inside = _cell(rng, place.radius, style)
        levels = _made_to_be_seen(levels, inside, style, light_from)
        window, part = painting.windows(place, len(levels), shape)
        own, there = np.where(inside[part], levels[part], 0.0), cover[window]
        if style.overlap:
            cover[window] = np.maximum(there, own) + _SHADE * np.minimum(there, own)
            extents += _found(inside[part], window)
        else:
            cover[window] = np.where(inside[part], own, there)
            owner[window] = np.where(inside[part], number, owner[window])
    return cover, [e for e in extents or ndimage.find_objects(owner) if e is not None]


def _found(inside: Boolean, window: _Extent) -> list[_Extent | None]:
    """Return where in a field the cell of a window lies; nothing where it is outside."""
    return [
        (
            slice(y.start + window[0].start, y.stop + window[0].start),
            slice(x.start + window[1].start, x.stop + window[1].start),
        )
        for y, x in ndimage.find_objects(inside.astype(np.int32))
    ]


def _cell(rng: np.random.Generator, radius: float, style: FieldStyle) -> tuple[Float64, Boolean]:
    if style.rounded and rng.random() < style.rounded:
        levels, inside = painting.cell_patch(
            rng, radius * rng.uniform(0.4, 0.7), 0.0, style.texture
        )
        return levels * rng.uniform(2.0, 4.0) * rng.choice([-1, 1]), inside
    return painting.cell_patch(
        rng,
        radius,
        style.ring,
        style.texture,
        outline=style.outline,
        grains=style.grains,
        thinning=style.thinning,
        nucleus=style.nucleus,
    )


def _made_to_be_seen(
    levels: Float64, inside: Boolean, style: FieldStyle, light_from: float
) -> Float64:
    """Return a cell's levels, strengthened where it would be lost in the noise."""
    shown = ndimage.gaussian_filter(_seen(levels, style, light_from), _BLUR_PX)
    (box,) = ndimage.find_objects(inside.astype(np.int32))
    varies = style.contrast * float(shown[box].std())
    return levels * max(1.0, _SEEN * style.noise / max(varies, 1e-6))


def _seen(levels: Float64, style: FieldStyle, light_from: float) -> Float64:
    """Return levels as the style's microscope shows them."""
    if style.halo:
        levels = optics.haloed(levels, style.halo, max(1.0, style.halo_width * style.radius))
    if style.relief:
        levels = optics.in_relief(levels, style.relief, light_from)
    return levels


def _clutter(
    rng: np.random.Generator, shape: tuple[int, int], cells: int, style: FieldStyle
) -> Float64:
    return (
        painting.specks(rng, shape, round(cells * style.specks))
        + painting.fibres(rng, shape, round(cells * style.fibres))
        + painting.smudges(rng, shape, round(cells * style.smudges), style.radius)
        + painting.debris(rng, shape, round(cells * style.debris), style.radius)
    )


def _boxes(extents: list[_Extent], label: str) -> tuple[Box, ...]:
    return tuple(Box(x.start, y.start, x.stop, y.stop, label) for y, x in extents)
