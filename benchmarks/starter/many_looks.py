"""Generated fields of every look: what widens the starter beyond the cells of the public sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.boxes import CELL
from model.generated.fields import Field, FieldStyle, generate_field
from model.generated.outlines import Outline

SIDE_PX = 448
#: Fewest and most cells of a field.
_CELLS = (8, 120)
#: One field of so many has no cell: what is left is not to be taken for one.
_EMPTY = 8


def random_field(seed: int) -> Field:
    """Generate a field of a look drawn from the seed."""
    rng = np.random.default_rng((seed, 17))
    style = random_style(rng)
    cells = 0 if seed % _EMPTY == 0 else int(rng.integers(*_CELLS))
    return generate_field(seed, (SIDE_PX, SIDE_PX), cells, style, CELL)


def random_style(rng: np.random.Generator) -> FieldStyle:
    """Draw a look: optics, contrast, polarity, texture, shape, size and clutter."""
    looks = (_filled, _phase, _refracting, _relief)
    return looks[rng.choice(len(looks), p=[0.45, 0.35, 0.1, 0.1])](rng, _common(rng))


def _common(rng: np.random.Generator) -> FieldStyle:
    contrast = _between(rng, 0.06, 0.6)
    return FieldStyle(
        "random",
        contrast,
        texture=float(rng.uniform(0.05, 0.6)),
        noise=float(contrast * rng.uniform(0.02, 0.25)),
        unevenness=float(rng.uniform(0, 0.25)),
        backdrop=_sometimes(rng, 0.8),
        backdrop_grain=_between(rng, 0.1, 3.0),
        fibres=_sometimes(rng, 0.15),
        specks=float(rng.uniform(0, 0.6)),
        smudges=_sometimes(rng, 1.0),
        debris=_sometimes(rng, 0.6),
        radius=float(rng.uniform(12, 28)),
        spread=float(rng.uniform(0.05, 0.4)),
        touching=float(rng.uniform(0, 0.7)),
        overlap=_sometimes(rng, 0.45),
        outline=Outline(float(rng.choice([1.5, rng.uniform(1.5, 4)]))),
        grains=_sometimes(rng, 1.0),
        thinning=_sometimes(rng, 0.6),
        nucleus=_sometimes(rng, 0.8),
    )


def _filled(rng: np.random.Generator, style: FieldStyle) -> FieldStyle:
    """Stained or fluorescent: darker or brighter than the background, or a rim about it."""
    dark = rng.random() < 0.5
    background = float(rng.uniform(0.05, 0.4))
    return replace(
        style,
        polarity="dark" if dark else "bright",
        background=1 - background if dark else background,
        ring=float(rng.choice([0.0, rng.uniform(0, 1), 0.9])),
    )


def _phase(rng: np.random.Generator, style: FieldStyle) -> FieldStyle:
    """Adherent cells in phase contrast: spindles and stars, dark in a halo, some rounded up."""
    return replace(
        style,
        contrast=_between(rng, 0.08, 0.4),
        overlap=0.0,
        fibres=_sometimes(rng, 0.04),
        polarity="dark" if rng.random() < 0.8 else "bright",
        background=float(rng.uniform(0.35, 0.65)),
        outline=Outline(
            float(rng.uniform(1.5, 7)), float(rng.uniform(0, 4)), float(rng.uniform(0, 0.08))
        ),
        halo=float(rng.uniform(0.5, 1.1)),
        halo_width=_between(rng, 0.1, 0.8),
        grains=float(rng.uniform(0, 2)),
        thinning=float(rng.uniform(0, 0.95)),
        nucleus=float(rng.choice([0.0, rng.uniform(0.2, 1.2), rng.uniform(0.2, 1.2)])),
        rounded=_sometimes(rng, 0.3),
        ring=_sometimes(rng, 0.6),
        smudges=_sometimes(rng, 0.3),
    )


def _refracting(rng: np.random.Generator, style: FieldStyle) -> FieldStyle:
    """Unstained cells in bright field: little more than a dark and a bright rim."""
    return replace(
        style,
        polarity="dark" if rng.random() < 0.5 else "bright",
        background=float(rng.uniform(0.35, 0.65)),
        halo=float(rng.uniform(0.8, 1.0)),
        halo_width=_between(rng, 0.06, 0.2),
        ring=float(rng.uniform(0, 0.9)),
    )


def _relief(rng: np.random.Generator, style: FieldStyle) -> FieldStyle:
    """Differential interference contrast: as if lit from one side."""
    return replace(
        style,
        background=float(rng.uniform(0.35, 0.65)),
        relief=float(rng.uniform(0.7, 1)),
        rounded=_sometimes(rng, 0.2),
    )


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly over the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _sometimes(rng: np.random.Generator, most: float) -> float:
    """Draw nothing at all in half of the cases."""
    return float(rng.choice([0.0, rng.uniform(0, most)]))
