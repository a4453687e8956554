"""Images as microscopes make them, read once and the same way everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


@dataclass(frozen=True)
class ImageRecord:
    """One image, grey and upright, at its own grey levels.

    Parameters
    ----------
    pixels
        Shape (H, W), uint8, uint16 or float32; levels as the file has them, never rounded.
    sha256
        Hex hash of the raw file.
    page, pages
        Which page of the file this is (0-based), and how many it has.
    """

    pixels: Grey
    sha256: str
    page: int = 0
    pages: int = 1

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


def read_image(source: Path | bytes, page: int = 0) -> ImageRecord:
    """Read one page of an image file."""
    raise NotImplementedError
