"""Specks: single pixels that a camera put there are not seen, what a lens shows stays."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from preprocessing.blocks import BLOCK, row_blocks
from preprocessing.contrast import ContrastConfig
from preprocessing.fitting import traits_of
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare
from preprocessing.specks import without_specks

PLACES = [(0, 0), (0, 40), (50, 127), (95, 127), (30, 30), (30, 32), (70, 64)]


def with_specks(pixels: np.ndarray, level: float) -> np.ndarray:
    spoilt = pixels.copy()
    for place in PLACES:
        spoilt[place] = level
    return spoilt


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_hot_and_dead_pixels_take_the_level_of_what_touches_them_at_edges_too(discs, dtype):
    pixels = gaussian_filter(discs().astype(dtype), 2)
    for level in (0, 255 if dtype == "uint8" else 60_000):
        mended = without_specks(with_specks(pixels, level))
        assert mended.dtype == dtype
        assert np.abs(mended.astype(float) - pixels).max() < 10


def test_an_image_without_specks_is_not_copied(discs):
    pixels = discs()
    assert without_specks(pixels) is pixels


def test_specks_are_found_wherever_they_lie_in_an_image_of_several_blocks_of_rows():
    pixels = np.full((2 * BLOCK // 1000, 1000), 100, np.uint8)
    spoilt = pixels.copy()
    spoilt[10::20, 500] = 0
    assert len(row_blocks(spoilt.shape)) > 1
    assert np.array_equal(without_specks(spoilt), pixels)
    assert not spoilt[10::20, 500].any()  # the image itself is left as it was


def test_what_is_larger_than_a_pixel_or_hardly_stands_out_stays():
    pixels = np.full((40, 40), 100, np.uint8)
    pixels[5:20, 5:20] = 200
    pixels[30, 10:12] = pixels[33, 30] = pixels[34, 31] = 200
    pixels[25, 25] = 125
    assert without_specks(pixels) is pixels


def test_specks_that_make_the_range_wide_do_not_hide_lesser_ones(discs):
    pixels = discs(120).astype(np.uint16) * 10
    spoilt = pixels.copy()
    spoilt[4::6, 4::6] = 65535
    spoilt[1::24, 1::24] = 9000
    assert without_specks(spoilt).max() <= pixels.max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
def test_images_of_few_pixels_are_no_trouble(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert np.array_equal(without_specks(pixels), pixels)


def test_neither_what_a_detector_sees_nor_the_profile_depends_on_hot_pixels(discs):
    pixels = discs(120).astype(np.uint16)
    clean, spoilt = (ImageRecord(p, "") for p in (pixels, with_specks(pixels, 65535)))
    seen, meant = (prepare(image, ContrastGroups.none()).pixels for image in (spoilt, clean))
    assert np.abs(seen - meant).mean() < 0.001
    config = ContrastConfig()
    assert np.allclose(*(traits_of(i, config).profile.shape for i in (clean, spoilt)), atol=0.02)


@pytest.mark.integration
def test_specks_cost_a_copy_of_the_image_and_no_more():
    """White noise is full of them; without any, 5.3 bytes a pixel suffice (``test_images``)."""
    side = 5_000
    noise = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    assert without_specks(noise) is not noise
    tracemalloc.start()
    prepare(ImageRecord(noise, ""), ContrastGroups.none())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + noise.nbytes < 6.3 * side**2
