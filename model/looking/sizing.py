"""How large the cells of an image are, found by looking at it at several scales.

For versions that were never taught a project's cells: after the first training the scale comes
from the corrected boxes (``model.rcnn.anchors``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from model.boxes import sides_of
from model.config import DetectorConfig
from model.looking.tiling import cut_out
from model.looking.vantage import vantage
from model.rcnn.detecting import Detector, Sparing
from model.rcnn.scale import scale_for
from preprocessing.arrays import Float64
from preprocessing.prepare import SIZE_UNKNOWN, Prepared, rescaled, seen_at

#: Sides of cells in raw pixels, and the weight of each as evidence; shape (N,) each.
Seen = tuple[Float64, Float64]

#: Factor by which the image shrinks from one look to the next: less than a detector's anchors span.
STEP = 2.0
#: Prepared pixels a side that a look shows at the most.
LOOK_PX = 440
#: Images of fewer pixels a side are not looked at: nothing of a cell is left.
LEAST_PX = 96
#: Boxes below this score are no evidence of a size.
SURE = 0.25
#: Nor are proposals of less objectness: leaving them out saves half of the time or more.
LEAST_OBJECTNESS = 0.3
#: A box with more than this share of a view's side may be the whole image, shrunk until it looks
#: like a cell.
MOST_SHARE = 0.5
#: Fewer boxes than this in all looks together may be anything.
FEWEST = 2
#: How far a box may be from the size at which cells are looked for, and two sizes from one
#: another, to be believed: standard deviations of the logarithm.
FIT, ALIKE = 0.7, 0.4
#: Evidence is divided by the number of looks that could show a size, but by no less than this.
FEWEST_LOOKS = 1.5
#: Less evidence is none: clutter mostly gives less, a single sure cell more.
LEAST_EVIDENCE = 0.04
#: Pixels a side, at most, at which an image is seen whose cells are of unknown size.
UNSIZED_PX = 800
#: Shape (K,), ascending: the sides among which that of the cells is sought, in raw pixels.
SIDES: Float64 = np.geomspace(3, 1200, 121)


def at_found_scale(image: Prepared, detector: Detector, config: DetectorConfig) -> Prepared:
    """Return an image to be seen at the scale of :func:`find_scale`.

    Where none is found it is flagged and seen at scale 1, a large one shrunk to ``UNSIZED_PX``.
    """
    scale = find_scale(image, detector, config)
    if scale is not None:
        return seen_at(image, scale)
    flagged = replace(image, flags=(*image.flags, SIZE_UNKNOWN))
    return rescaled(flagged, min(1.0, UNSIZED_PX / max(image.height, image.width)))


def find_scale(image: Prepared, detector: Detector, config: DetectorConfig) -> float | None:
    """Return the scale at which a detector should look at an image, as :func:`find_side` does.

    Returns
    -------
    Prepared pixels per raw pixel; None where there is hardly any evidence of the size.
    """
    side = find_side(image, detector, config)
    return None if side is None else scale_for(np.array([side]), config)


def find_side(image: Prepared, detector: Detector, config: DetectorConfig) -> float | None:
    """Return how large the cells of an image are, typically.

    At each of several scales the detector looks at the image's middle, or where there is more to
    be seen. Seen too large, parts of a cell look like cells, seen too small, clumps do; but these
    have another raw size in each look, while a cell has the same in several. So the size is read
    from the boxes of all looks together.

    Parameters
    ----------
    image
        Prepared at scale 1.
    config
        Of the detector: the sides at which it looks for cells; its ``scale`` is not used.

    Returns
    -------
    √(width · height) in raw pixels; None where there is hardly any evidence of the size.
    """
    scales = np.array(list(looks(image, config)))
    quick = detector.sparing(LEAST_OBJECTNESS) if isinstance(detector, Sparing) else detector
    seen = [_look(image, scale, quick, config) for scale in scales]
    if sum(len(sides) for sides, _ in seen) < FEWEST:
        return None
    could_show = _fit(SIDES[:, None] * scales, config).sum(axis=1)
    shown = np.linalg.norm([_alike(sides) @ weights for sides, weights in seen], axis=0)
    evidence = shown / np.maximum(could_show, FEWEST_LOOKS)
    if evidence.max() < LEAST_EVIDENCE:
        return None
    return float(SIDES[evidence.argmax()])


def looks(image: Prepared, config: DetectorConfig) -> Iterator[float]:
    """Yield the scales to look at, from the largest down."""
    scale = config.enlargement
    while scale * max(image.height, image.width) >= LEAST_PX:
        yield scale
        scale /= STEP


def _look(image: Prepared, scale: float, detector: Detector, config: DetectorConfig) -> Seen:
    """Return the sides of the cells in raw pixels, and the weight of each as evidence.

    A cell weighs more the surer it is, the larger it is in the view, and the closer to the size at
    which cells are looked for.
    """
    view = rescaled(cut_out(image, vantage(image, scale, LOOK_PX)), scale)
    (found,) = detector.detect([view])
    sure = found.above(SURE)
    sides = sides_of(sure.xyxy_px.astype(np.float64), least_px=1)
    shares = sides / np.sqrt(view.height * view.width)
    weights = sure.scores * shares * _fit(sides, config)
    small = shares <= MOST_SHARE
    return sides[small] / scale, weights[small]


def _alike(sides: Float64) -> Float64:
    """Return how near each of ``SIDES`` is to each of N sides: shape (K, N), in [0, 1]."""
    return _bell(np.log(SIDES[:, None] / sides), ALIKE)


def _fit(sides: Float64, config: DetectorConfig) -> Float64:
    """Return how near prepared sides are to those at which cells are looked for, in [0, 1]."""
    return _bell(np.log(sides / np.sqrt(config.small_cell_px * config.cell_px)), FIT)


def _bell(values: Float64, deviation: float) -> Float64:
    bell: Float64 = np.exp(-0.5 * (values / deviation) ** 2)
    return bell
