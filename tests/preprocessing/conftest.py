"""Generated images: discs on a noisy ground, and files of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from preprocessing.fitting import Traits, fit_groups
from preprocessing.groups import ContrastGroups
from preprocessing.quantiles import QuantileProfile

Pixels = NDArray[Any]


def discs(
    seed: int = 0,
    shape: tuple[int, int] = (96, 128),
    cells: int = 12,
    ground: float = 60,
    height: float = 120,
    noise: float = 4,
) -> NDArray[np.uint8]:
    """Return a field of discs, 8 bits, brighter than the ground where ``height`` is above 0."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    levels = rng.normal(ground, noise, shape)
    for _ in range(cells):
        cy, cx, radius = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(4, 9)
        levels[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] += height
    return levels.clip(0, 255).astype(np.uint8)


def tiff(pixels: Pixels, **options: Any) -> bytes:
    with io.BytesIO() as file:
        tifffile.imwrite(file, pixels, **options)
        return file.getvalue()


def png_or_jpeg(pixels: Pixels, kind: str, **options: Any) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format=kind, **options)
        return file.getvalue()


def fit_profiles(profiles: Iterable[QuantileProfile], *arguments: Any) -> ContrastGroups:
    """Return groups fitted to images of which only the profile is known."""
    return fit_groups([Traits(profile) for profile in profiles], *arguments)


@pytest.fixture(name="discs", scope="session")
def discs_fixture() -> Callable[..., NDArray[np.uint8]]:
    return discs


@pytest.fixture(name="tiff", scope="session")
def tiff_fixture() -> Callable[..., bytes]:
    return tiff


@pytest.fixture(name="png_or_jpeg", scope="session")
def png_or_jpeg_fixture() -> Callable[..., bytes]:
    return png_or_jpeg
