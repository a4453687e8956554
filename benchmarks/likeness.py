"""Do fingerprints tell frames of one field from other fields? `python -m benchmarks.likeness`.

Prints, for the real images as they are and under uneven light, how many pairs are taken for one
field and how far apart the next are; then how far an image is from itself taken otherwise.
Needs CYTOLOOP_DATA; a minute on one core.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.sides import SETS, data_folder
from model.labels.likeness import MOST_BITS, fingerprint_of
from preprocessing.arrays import Float32, Float64, Int64
from preprocessing.images import read_image

Change = Callable[[Float32], NDArray[Any]]
EVERY = 6


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    for name in SETS:
        images = [read_image(p).pixels for p in sorted((data_folder() / name / "images").iterdir())]
        levels = [pixels.astype(np.float32) for pixels in images]
        print(f"{name}: {len(levels)} images")
        for light, change in LIGHTS.items():
            apart = np.sort(_between([fingerprint_of(change(each)) for each in levels]))
            alike = int((apart <= MOST_BITS).sum())
            print(f"  {light}: {alike} of {len(apart)} pairs alike, next {apart[alike]} bits apart")
        for title, change in CHANGES.items():
            pairs = [(each, change(each)) for each in levels[::EVERY]]
            apart = np.concatenate([_between(list(map(fingerprint_of, pair))) for pair in pairs])
            median, most = np.percentile(apart, (50, 95))
            print(f"  the same, {title}: {median:.0f} bits apart (95 %: {most:.0f})")


def _between(fingerprints: Sequence[str]) -> Int64:
    # That of a plain image is empty.
    codes = np.array([int(each, 16) for each in fingerprints if each], np.uint64)
    apart = np.bitwise_count(codes[:, None] ^ codes)[np.triu_indices(len(codes), 1)]
    return np.asarray(apart, np.int64)


def _radius(levels: Float32) -> Float64:
    height, width = levels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray((x * x + y * y) / 2)


def _jpeg(levels: Float32) -> NDArray[np.uint8]:
    encoded = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(encoded, "JPEG", quality=60)
    return np.asarray(Image.open(encoded))


def _shifted(levels: Float32, share: float) -> Float32:
    return np.roll(levels, [round(share * side) for side in levels.shape], (0, 1))


LIGHTS: dict[str, Change] = {
    "as they are": lambda p: p,
    "vignette 1 − 0.5 r²": lambda p: p * (1 - 0.5 * _radius(p)),
    "vignette 1 − 0.8 r²": lambda p: p * (1 - 0.8 * _radius(p)),
    "ramp 0.4 to 1.6": lambda p: p * np.linspace(0.4, 1.6, p.shape[1]),
}
CHANGES: dict[str, Change] = {
    "gain 0.6": lambda p: 0.6 * (p - p.mean()) + p.mean(),
    "gamma 2": lambda p: 255 * (p / 255) ** 2,
    "gamma 0.5": lambda p: 255 * (p / 255) ** 0.5,
    "noise of 8 levels": lambda p: p + np.random.default_rng(0).normal(0, 8, p.shape),
    "JPEG quality 60": _jpeg,
    "blur of 3 px": lambda p: gaussian_filter(p, 3),
    "half the size": lambda p: p[::2, ::2],
    "shifted by 1 %": lambda p: _shifted(p, 0.01),
    "shifted by 2 %": lambda p: _shifted(p, 0.02),
}

if __name__ == "__main__":
    main()
