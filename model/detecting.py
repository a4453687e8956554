"""What every detector can do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from model.boxes import Detections
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
        One for each image, in order: edges in pixels of the prepared image, scores descending,
        every box above the detector's own score floor.
        """
        ...


@runtime_checkable
class Sparing(Protocol):
    """A detector that can look at fewer proposals: quicker where the faint is not wanted."""

    def sparing(self, floor: float) -> Detector:
        """Return it looking only at proposals of at least so much objectness."""
        ...
