"""Evening out: slanted and vignetted light goes, cells stay."""

from __future__ import annotations

import numpy as np
import pytest

from preprocessing.background import even_out
from preprocessing.contrast import ContrastConfig
from preprocessing.fitting import fit_images
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare

SHAPE = (240, 320)
Y, X = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
LIGHTS = {
    "vignette": 1 - 0.25 * (X**2 + Y**2),
    "slant": 1 + 0.35 * X - 0.2 * Y,
    "off-centre": 1.2 * np.exp(-((X - 0.3) ** 2 + (Y + 0.2) ** 2) / 3),
}


def lit(pixels: np.ndarray, light: np.ndarray) -> np.ndarray:
    return (pixels * light).clip(0, 255).astype(np.uint8)


def ground_bends(pixels: np.ndarray, ground: np.ndarray) -> float:
    """Return how far the ground's medians in 6 × 8 tiles differ, in units of the image's range."""
    levels = np.where(ground, pixels.astype(float), np.nan)
    tiles = levels.reshape(6, 40, 8, 40).swapaxes(1, 2).reshape(48, -1)
    medians = np.nanmedian(tiles, axis=1)
    low, high = np.quantile(pixels, [0.001, 0.999])
    return float(np.ptp(medians) / (high - low))


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize(("ground", "height"), [(150, 60), (150, -90)], ids=["bright", "dark"])
def test_uneven_light_is_taken_out_with_bright_cells_and_with_dark(discs, light, ground, height):
    pixels = discs(1, SHAPE, 40, ground, height, 3)
    is_ground = np.abs(pixels.astype(float) - ground) < 12
    uneven = lit(pixels, LIGHTS[light])
    assert ground_bends(uneven, is_ground) > 0.25
    assert ground_bends(even_out(uneven), is_ground) < 0.08


@pytest.mark.parametrize("light", ["vignette", "slant"])
def test_cells_have_one_contrast_wherever_the_light_falls(discs, light):
    y, x = np.indices(SHAPE)
    pixels = np.full(SHAPE, 170.0)
    middles = [(r, c) for r in range(30, 240, 45) for c in range(30, 320, 52)]
    for row, column in middles:
        pixels[(y - row) ** 2 + (x - column) ** 2 < 9**2] = 110
    evened = even_out(lit(pixels, LIGHTS[light])).astype(float)
    steps = [np.median(evened) - evened[middle] for middle in middles]
    assert np.std(steps) < 0.06 * np.mean(steps)
    raw = lit(pixels, LIGHTS[light]).astype(float)
    raw_steps = [np.median(raw) - raw[middle] for middle in middles]
    assert np.std(raw_steps) > 0.15 * np.mean(raw_steps)


def test_a_black_ground_with_a_gradient_is_subtracted_not_divided(discs):
    pixels = discs(2, SHAPE, 30, 6, 180, 1).astype(float) + 20 * (1 + X)
    is_ground = discs(2, SHAPE, 30, 6, 180, 1) < 30
    evened = even_out(pixels.astype(np.uint8))
    assert ground_bends(pixels, is_ground) > 0.12
    assert ground_bends(evened, is_ground) < 0.03
    assert evened[~is_ground].std() < 0.2 * (evened[~is_ground].mean() - evened[is_ground].mean())


@pytest.fixture
def colony():
    """A field of noise with one large bright patch, and where the patch lies."""
    pixels = np.random.default_rng(0).normal(60, 3, SHAPE)
    is_colony = np.zeros(SHAPE, bool)
    is_colony[40:140, 60:190] = True
    pixels[is_colony] += 80
    return pixels.astype(np.uint8), is_colony


def test_a_colony_over_a_sixth_of_the_image_is_not_taken_for_background(colony):
    pixels, is_colony = colony
    evened = even_out(pixels).astype(float)
    step = np.median(evened[is_colony]) - np.median(evened[~is_colony])
    assert evened[~is_colony].std() < 0.1 * step


@pytest.mark.parametrize("gain", [1e-9, 1e9])
def test_an_image_of_any_unit_is_evened_alike(colony, gain):
    pixels = colony[0].astype(np.float32)
    same = even_out(pixels * np.float32(gain))
    np.testing.assert_allclose(same.astype(float), even_out(pixels), atol=40)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_depth_is_evened_alike(discs, dtype):
    uneven = lit(discs(1, SHAPE, 40), LIGHTS["vignette"])
    gain = {"uint8": 1, "uint16": 200, "float32": 0.01}[dtype]
    same = even_out((uneven * np.dtype(dtype).type(gain)).astype(dtype))
    assert same.dtype == np.uint16
    np.testing.assert_allclose(same.astype(float), even_out(uneven), atol=40)


def test_negative_float_levels_are_evened_too(discs):
    uneven = lit(discs(1, SHAPE, 40), LIGHTS["slant"]).astype(np.float32) - 130
    evened = even_out(uneven)
    is_ground = np.abs(discs(1, SHAPE, 40) - 60.0) < 12
    assert ground_bends(evened, is_ground) < ground_bends(uneven, is_ground)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (64, 64), (300, 20)])
def test_a_constant_or_tiny_image_comes_back_as_it_is(shape):
    constant = np.full(shape, 9, np.uint8)
    np.testing.assert_array_equal(even_out(constant), constant)


@pytest.mark.parametrize("shape", [(16, 16), (17, 900), (900, 17), (33, 40)])
def test_a_small_or_narrow_image_is_evened_or_left_but_never_fails(shape):
    pixels = np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)
    assert even_out(pixels).shape == shape


def test_prepare_evens_the_ground_in_mode_flat_and_not_in_mode_groups(discs):
    images = [
        ImageRecord(lit(discs(s, SHAPE, 40, 120, h), LIGHTS["vignette"]), "")
        for h in (20, 60, 110)
        for s in range(3)
    ]
    is_ground = np.abs(discs(0, SHAPE, 40, 120, 110) - 120.0) < 12
    bends = {}
    for mode in ("groups", "flat"):
        groups = fit_images(images, ContrastConfig(mode))
        bends[mode] = ground_bends(prepare(images[6], groups).pixels, is_ground)
    assert bends["flat"] < 0.3 * bends["groups"]
