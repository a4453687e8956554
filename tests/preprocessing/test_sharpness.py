"""Focus: what is blurred is told from what is sharp, whatever the gain, noise and magnification."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import gaussian

from preprocessing.fitting import Traits, fit_images
from preprocessing.images import ImageRecord
from preprocessing.prepare import OUT_OF_FOCUS, prepare
from preprocessing.quantiles import profile_of
from preprocessing.sharpness import FACTOR, LEAST_STEP, least_sharpness, sharpness_of

SHAPE = (256, 320)


@pytest.fixture(scope="module")
def seen(discs):
    """Return a field of discs as a microscope sees it: blurred, then with a camera's noise."""

    def see(seed: int, blur: float = 1.0, noise: float = 3.0, height: float = 90, cells: int = 40):
        clean = discs(seed, SHAPE, cells, 60, height, noise=0).astype(float)
        levels = gaussian(clean, blur, preserve_range=True)
        levels += np.random.default_rng(seed).normal(0, noise, SHAPE)
        return levels.clip(0, 255).astype(np.uint8)

    return see


def test_every_blur_is_less_sharp_than_the_one_before(seen):
    sharpness = [sharpness_of(seen(1, blur)) for blur in (0.5, 1, 2, 3, 4, 6)]
    assert np.diff(sharpness).max() < -0.1


@pytest.mark.parametrize("mode", ["none", "groups", "flat"])
def test_a_defocused_image_is_flagged_and_one_in_focus_is_not(seen, mode):
    images = [ImageRecord(seen(s, height=h), "") for s, h in enumerate((30, 60, 90, 130) * 3)]
    groups = fit_images(images, mode)
    for seed in (50, 51, 52):
        assert OUT_OF_FOCUS not in prepare(ImageRecord(seen(seed), ""), groups).flags
        assert OUT_OF_FOCUS in prepare(ImageRecord(seen(seed, blur=5.0), ""), groups).flags


def test_noise_does_not_make_a_defocused_image_sharp(seen):
    images = [ImageRecord(seen(s), "") for s in range(8)]
    groups = fit_images(images)
    for noise in (1.0, 6.0, 10.0):
        blurred = seen(30, blur=6.0, noise=noise)
        assert OUT_OF_FOCUS in prepare(ImageRecord(blurred, ""), groups).flags


def test_gain_offset_and_depth_do_not_change_the_sharpness(seen):
    pixels = seen(3)
    for moved in (pixels.astype(np.uint16) * 200 + 1000, pixels.astype(np.float32) * 0.01 - 7):
        assert sharpness_of(moved) == pytest.approx(sharpness_of(pixels), abs=0.01)


@pytest.mark.parametrize("gain", [1e-30, 1e30])
def test_the_unit_of_the_levels_does_not_change_the_sharpness(seen, gain):
    pixels = seen(3).astype(np.float32)
    assert sharpness_of(pixels * np.float32(gain)) == pytest.approx(sharpness_of(pixels), abs=1e-3)


def test_the_same_cells_at_twice_the_magnification_are_less_apart_than_a_defocus(discs):
    small = discs(4, (200, 200), 20, noise=0)
    large = np.kron(small, np.ones((2, 2), np.uint8))
    blurred = gaussian(small, 4, preserve_range=True).astype(np.uint8)
    magnified, defocused = (sharpness_of(small) - sharpness_of(p) for p in (large, blurred))
    assert magnified < LEAST_STEP < defocused


def test_the_limit_follows_the_spread_of_the_training_images():
    assert least_sharpness([-1.0] * 9) == -1 - LEAST_STEP
    wide = least_sharpness([-3.0, -2.0, -1.0, 0.0, 1.0])
    assert wide == pytest.approx(-1 - FACTOR * 1.4826)


def test_nothing_is_out_of_focus_where_no_image_tells(discs):
    assert least_sharpness([]) == least_sharpness([float("nan")]) == float("-inf")
    assert np.isnan(Traits(profile_of(discs())).sharpness)


@pytest.fixture(scope="module")
def groups(seen):
    return fit_images([ImageRecord(seen(s), "") for s in range(4)])


@pytest.mark.parametrize("shape", [(1, 1), (63, 900), (128, 128)])
def test_an_image_too_small_or_constant_has_no_sharpness_and_no_flag(groups, shape):
    pixels = np.full(shape, 40, np.uint8)
    assert np.isnan(sharpness_of(pixels))
    assert OUT_OF_FOCUS not in prepare(ImageRecord(pixels, ""), groups).flags


def test_a_side_of_64_pixels_is_enough_and_one_less_is_not(seen):
    pixels = seen(3)
    assert np.isnan([sharpness_of(pixels[:63]), sharpness_of(pixels[:, :63])]).all()
    assert np.isfinite(sharpness_of(pixels[:64, :64]))
