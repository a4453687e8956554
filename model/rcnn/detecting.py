"""What every detector can do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from model.boxes import Detections
from model.config import DetectorConfig
from preprocessing.arrays import Boolean, Float32, Int64
from preprocessing.prepare import Prepared


class Detector(Protocol):
    """Something that finds cells in prepared images."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of its boxes, in label order."""
        ...

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        """Find the cells of each image.

        Returns
        -------
        One for each image, in order: edges in pixels of the prepared image, scores descending. All
        boxes above the detector's score floor; of one that looks several times, above it in at
        least one look.
        """
        ...


@runtime_checkable
class Sparing(Protocol):
    """A detector that can look at fewer proposals: quicker where faint cells are not wanted."""

    def sparing(self, floor: float) -> Detector:
        """Return it looking only at proposals of at least this objectness, in [0, 1]."""
        ...


def as_detections(
    boxes: Float32,
    scores: Float32,
    labels: Int64,
    capped: Boolean,
    config: DetectorConfig,
    classes: tuple[str, ...],
) -> Detections:
    """Return what a Faster R-CNN found, whichever engine ran it, with the caps that it reached.

    Parameters
    ----------
    boxes, scores, labels
        Shapes (N, 4), in pixels of the prepared image, (N,) and (N,), best first. Those beyond
        ``detections_per_image`` are left out here: nothing cuts after this cap, so that it is
        named whenever boxes were lost by it.
    capped
        Shape (2,): whether ``rpn_pre_nms`` and ``rpn_post_nms`` cut likely cells.
    """
    of_proposals = zip(("rpn_pre_nms", "rpn_post_nms"), capped, strict=True)
    # A place that was not looked at may have been as sure a cell as any.
    caps = {name: 1.0 for name, is_reached in of_proposals if is_reached}
    most = config.detections_per_image
    if len(scores) > most:
        caps["detections_per_image"] = float(scores[most])
    return Detections(boxes[:most], scores[:most], labels[:most], classes, caps)
