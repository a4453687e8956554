"""How large the cells of an image are, found by looking at it at several scales.

For versions that were never taught a project's cells: after the first training the scale comes
from the corrected boxes (``model.anchors``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model.anchors import Float64, scale_for
from model.config import DetectorConfig
from model.detecting import Detector
from model.tiling import cut_out, middle
from preprocessing.prepare import Prepared, rescaled

#: How much of an image cells explain, and their sides in raw pixels.
Seen = tuple[float, Float64]

#: From one look to the next the image shrinks by this: less than a detector's anchors span.
STEP = 1.6
#: Only the middle of an image is looked at, up to so many prepared pixels a side.
LOOK_PX = 800
#: Images of fewer pixels a side are not looked at: nothing of a cell is left.
LEAST_PX = 96
#: A box below this score does not tell a size.
SURE = 0.5
#: One box alone may be the whole image, shrunk until it looks like a cell.
FEWEST = 2


def find_scale(image: Prepared, detector: Detector, config: DetectorConfig) -> float:
    """Return the scale at which a detector should look at an image.

    At each of several scales the detector looks at the image's middle. The look whose boxes of a
    fit size explain most of it tells the cells' size, and the scale follows as it does from
    corrected boxes: a look somewhat off the best scale still sees the right size.

    Parameters
    ----------
    image
        Prepared at scale 1.
    config
        Of the detector: the sides at which it looks for cells; its ``scale`` is not looked at.

    Returns
    -------
    Prepared pixels per raw pixel; 1 at most, for a large image less, where nothing was found.
    """
    best, sides = 0.0, np.zeros(0)
    for scale in looks(image, config):
        explained, seen = _look(image, scale, detector, config)
        if explained > best:
            best, sides = explained, seen
    if not len(sides):
        return min(1.0, LOOK_PX / max(image.height, image.width))
    return scale_for(sides, config)


def looks(image: Prepared, config: DetectorConfig) -> Iterator[float]:
    """Yield the scales to look at, from the largest down."""
    scale = config.enlargement
    while scale * max(image.height, image.width) >= LEAST_PX:
        yield scale
        scale /= STEP


def _look(image: Prepared, scale: float, detector: Detector, config: DetectorConfig) -> Seen:
    """Return how much of the image cells explain, and their sides in raw pixels, shape (N,).

    Only cells of about the size at which they are looked for count: from too near the parts of a
    cell look like cells, from too far a whole image does.
    """
    view = rescaled(cut_out(image, middle(image, round(LOOK_PX / scale))), scale)
    (found,) = detector.detect([view])
    sure = found.above(SURE)
    edges = sure.xyxy_px.astype(np.float64)
    areas = np.prod(np.clip(edges[:, 2:] - edges[:, :2], 0, None), axis=1)
    sides = np.sqrt(areas)
    sized = (sides >= config.small_cell_px / STEP) & (sides <= config.cell_px * STEP)
    if np.count_nonzero(sized) < FEWEST:
        return 0.0, np.zeros(0)
    shares = areas[sized] / (view.height * view.width)
    return float(np.sum(shares * sure.scores[sized] ** 2)), sides[sized] / scale
