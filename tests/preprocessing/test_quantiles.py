"""Quantile profiles: the histogram's shape, whatever the gain and depth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from preprocessing.quantiles import QUANTILES, distance, profile_of

SMALL = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(SMALL)
def test_a_profile_rises_from_the_minimum_to_the_maximum(pixels):
    levels = profile_of(pixels).levels
    assert levels.shape == (QUANTILES,)
    assert (np.diff(levels) >= 0).all()
    assert (levels[0], levels[-1]) == (pixels.min(), pixels.max())


@given(SMALL)
def test_a_profile_is_the_same_for_every_depth_that_holds_the_levels(pixels):
    profiles = [profile_of(pixels.astype(t)).levels for t in ("uint8", "uint16", "float32")]
    # Counting and sorting round the rank of a quantile that falls between two pixels each its way.
    ordered = np.sort(pixels, axis=None).astype(float)
    step = np.diff(ordered, prepend=ordered[0]).max()
    np.testing.assert_array_equal(profiles[0], profiles[1])
    assert np.abs(profiles[0] - profiles[2]).max() <= step


def test_the_levels_are_numpys_quantiles(discs):
    pixels = discs()
    expected = np.quantile(pixels, np.linspace(0, 1, QUANTILES), method="lower")
    np.testing.assert_array_equal(profile_of(pixels).levels, expected)


@pytest.mark.parametrize("gain", [0.5, 16, 200])
def test_gain_offset_and_depth_leave_the_shape_as_it_is(discs, gain):
    pixels = discs()
    brighter = (pixels.astype(np.uint16) * gain + 100).astype(np.uint16)
    assert distance(profile_of(pixels).shape, profile_of(brighter).shape) < 0.01


def test_the_shape_of_even_levels_is_a_line_about_the_median():
    ramp = np.arange(40_000, dtype=np.uint16).reshape(200, 200)
    line = np.linspace(-0.5, 0.5, QUANTILES)
    np.testing.assert_allclose(profile_of(ramp).shape, line, atol=0.002)


def test_the_distance_of_two_shapes_is_the_wasserstein_distance():
    # Two images of two levels: 25 % against 75 % at the upper one, the medians at either end.
    low = np.repeat(np.uint8([0, 100]), [300, 100]).reshape(20, 20)
    high = np.repeat(np.uint8([0, 100]), [100, 300]).reshape(20, 20)
    first, second = profile_of(low).shape, profile_of(high).shape
    assert distance(first, first) == 0
    # Centred: 0 ×75 %, 1 ×25 % against -1 ×25 %, 0 ×75 %: a quarter at each end moves by one.
    assert distance(first, second) == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert distance(first, second) == distance(second, first)


def test_more_cells_and_less_noise_are_more_contrast(discs):
    faint = profile_of(discs(height=10, noise=6))
    clear = profile_of(discs(height=120, noise=2, cells=20))
    assert clear.contrast > faint.contrast


def test_a_few_hot_pixels_do_not_change_the_shape(discs):
    pixels = discs(shape=(200, 200), cells=40).astype(np.uint16)
    hot = pixels.copy()
    hot[::70, ::70] = 60_000
    assert distance(profile_of(pixels).shape, profile_of(hot).shape) < 0.02


def test_in_a_field_of_one_level_the_few_pixels_of_another_set_the_range():
    pixels = np.zeros((100, 100), np.uint8)
    pixels[50, 50:53] = 90
    assert profile_of(pixels).range == profile_of(90 - pixels).range == (0, 90)


def test_a_constant_image_has_no_shape_and_no_contrast():
    profile = profile_of(np.full((5, 5), 9, np.uint8))
    assert profile.is_constant
    assert not profile.shape.any()
    assert profile.contrast == 0


@pytest.mark.parametrize("level", [0, 65535])
def test_a_scale_bar_burnt_in_is_not_the_range(discs, level):
    pixels = 20_000 + 10 * discs().astype(np.uint16)
    marked = pixels.copy()
    marked[80:84, 80:120] = level
    marked[85, 80:90] = level // 2 + 10_000  # smooth edges of letters
    low, high = profile_of(pixels).range
    assert profile_of(marked).range == pytest.approx((low, high), abs=0.1 * (high - low))


def test_cells_as_bright_as_the_file_goes_are_not_burnt_in(discs):
    saturated = gaussian_filter(discs(ground=20, height=600).astype(float), 1).clip(0, 255)
    assert profile_of(np.rint(saturated).astype(np.uint8)).range[1] == 255


def test_what_fills_more_than_a_tenth_is_not_burnt_in(discs):
    pixels = discs() // 4
    pixels[:20] = 255
    assert profile_of(pixels).range[1] == 255


def test_two_levels_are_both_the_range():
    pixels = np.full((50, 50), 7, np.uint8)
    pixels[:2] = 200
    assert profile_of(pixels).range == (7, 200)
