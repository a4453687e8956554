"""Matching: as scikit-image within one grey level, monotone, and calm where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.exposure import match_histograms

from preprocessing.matching import match, stretch
from preprocessing.quantiles import QUANTILES, profile_of

DTYPES = ("uint8", "uint16", "float32")
RAMP = np.linspace(0, 1, QUANTILES)


def smooth_field(seed: int, gamma: float) -> np.ndarray:
    """Return 8-bit levels without gaps, as a camera gives them."""
    rng = np.random.default_rng(seed)
    levels = rng.beta(2, 3, (160, 200)) ** gamma * 235 + 10
    return levels.astype(np.uint8)


@pytest.mark.parametrize("gamma", [0.7, 1.0, 1.3])
def test_matching_to_an_image_agrees_with_scikit_image_within_one_grey_level(gamma):
    image, reference = smooth_field(1, gamma), smooth_field(2, 1.0)
    template = profile_of(reference).levels / 255
    ours = match(image, profile_of(image), template) * 255
    theirs = match_histograms(image, reference)
    # Where a level holds less than 0.1 % of the pixels, at the ends, a profile is coarser than the
    # histogram; the templates of groups are flat there.
    low, high = np.quantile(image, [0.005, 0.995])
    inside = (image >= low) & (image <= high)
    assert np.abs(ours - theirs)[inside].max() <= 1
    assert np.abs(ours - theirs).max() <= 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_matched_to_itself_stays_as_it_is(discs, dtype):
    pixels = discs().astype(dtype)
    profile = profile_of(pixels)
    matched = match(pixels, profile, profile.levels / 255)
    assert matched.dtype == np.float32
    assert np.abs(matched * 255 - pixels).max() <= 1


def test_every_depth_is_matched_alike(discs):
    pixels = discs()
    wide = pixels.astype(np.uint16) * 16
    first, second, third = (
        match(p, profile_of(p), RAMP) for p in (pixels, wide, wide.astype(np.float32))
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
    np.testing.assert_allclose(second, third, atol=2e-3)


def test_16_bit_levels_between_two_8_bit_levels_stay_apart():
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64) + 30_000
    matched = match(pixels, profile_of(pixels), RAMP)
    assert len(np.unique(matched)) > 4000


@given(
    pixels=arrays(np.uint8, st.tuples(st.integers(1, 10), st.integers(1, 10))),
    template=arrays(np.float64, 12, elements=st.floats(0, 1)),
)
def test_matching_and_stretching_keep_the_order_of_the_levels_and_stay_within_0_and_1(
    pixels, template
):
    curve = np.interp(RAMP, np.linspace(0, 1, 12), np.sort(template))
    profile = profile_of(pixels)
    order = np.argsort(pixels, axis=None, kind="stable")
    for result in (match(pixels, profile, curve), stretch(pixels, profile)):
        assert result.shape == pixels.shape
        assert result.min() >= 0
        assert result.max() <= 1
        assert (np.diff(result.reshape(-1)[order]) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (30, 40)])
def test_a_constant_image_becomes_the_templates_middle_or_half_grey(dtype, shape):
    pixels = np.full(shape, 200, dtype)
    profile = profile_of(pixels)
    np.testing.assert_allclose(match(pixels, profile, RAMP**2), 0.25)
    np.testing.assert_allclose(stretch(pixels, profile), 0.5)


def test_stretching_spreads_the_range_and_clips_the_rest():
    pixels = np.linspace(1000, 2000, 100 * 100).reshape(100, 100).astype(np.uint16)
    pixels[0, 0], pixels[-1, -1] = 0, 65535
    stretched = stretch(pixels, profile_of(pixels))
    assert (stretched[0, 0], stretched[-1, -1]) == (0, 1)
    assert stretched[50, 0] == pytest.approx(0.5, abs=0.01)
