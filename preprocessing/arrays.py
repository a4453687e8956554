"""What arrays hold, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Boolean = NDArray[np.bool_]
#: Levels as ``images.read_image`` gives them, shape (H, W).
Grey = NDArray[np.uint8] | NDArray[np.uint16] | Float32
#: Levels as a file stores them, shape (H, W) or (H, W, samples).
Pixels = NDArray[Any]
