"""Matching: as scikit-image within one grey level, monotone, and calm where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.exposure import match_histograms

from preprocessing.contrast import ContrastConfig
from preprocessing.histograms import histogram_of
from preprocessing.matching import Template, match, stretch
from preprocessing.quantiles import QUANTILES

DTYPES = ("uint8", "uint16", "float32")
RAMP = Template.even(np.linspace(0, 1, QUANTILES))
SMALL = arrays(np.uint8, st.tuples(st.integers(1, 10), st.integers(1, 10)))


def smooth_field(seed: int, gamma: float, levels: int = 235) -> np.ndarray:
    """Return 8-bit levels without gaps, as a camera gives them."""
    rng = np.random.default_rng(seed)
    return (rng.beta(2, 3, (160, 200)) ** gamma * levels + 10).astype(np.uint8)


def as_template(reference: np.ndarray, full: float = 255) -> Template:
    """Return an image's own histogram as a template, its levels as they are."""
    histogram = histogram_of(reference)
    return Template(histogram.shares("upper"), histogram.levels / full)


def matched(pixels: np.ndarray, template: Template, **choices: object) -> np.ndarray:
    return match(pixels, histogram_of(pixels), template, ContrastConfig(**choices))


@pytest.mark.parametrize("levels", [6, 40, 235])
@pytest.mark.parametrize("gamma", [0.5, 0.7, 1.0, 1.5, 2.0])
def test_matching_to_an_image_agrees_with_scikit_image_within_one_grey_level(gamma, levels):
    image, reference = smooth_field(1, gamma, levels), smooth_field(2, 1.0)
    ours = matched(image, as_template(reference)) * 255
    assert np.abs(ours - match_histograms(image, reference)).max() <= 1


@given(image=SMALL, reference=SMALL)
def test_matching_any_two_images_agrees_with_scikit_image(image, reference):
    if image.min() < image.max():
        ours = matched(image, as_template(reference)) * 255
        assert np.abs(ours - match_histograms(image, reference)).max() <= 1


def test_matching_16_bits_agrees_with_scikit_image_at_16_bits():
    image, reference = (smooth_field(s, 1.0).astype(np.uint16) * 200 for s in (1, 2))
    image += np.random.default_rng(0).integers(0, 200, image.shape, dtype=np.uint16)
    ours = matched(image, as_template(reference, 65535)) * 65535
    assert np.abs(ours - match_histograms(image, reference)).max() <= 1


def test_a_million_pixels_are_looked_up_as_a_few_are():
    image = np.random.default_rng(0).integers(0, 256, (1023, 1025), dtype=np.uint8)
    table = np.interp(
        np.arange(256), histogram_of(image).levels, histogram_of(image).shares("upper")
    )
    np.testing.assert_array_equal(matched(image, RAMP), table.astype(np.float32)[image])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", ["upper", "middle"])
def test_an_image_matched_to_itself_is_only_stretched(discs, dtype, rank):
    pixels = discs().astype(dtype)
    histogram = histogram_of(pixels)
    result = matched(pixels, Template.of(histogram, rank), rank=rank)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, stretch(pixels, histogram), atol=1e-6)


def test_every_depth_is_matched_alike(discs):
    pixels = discs()
    wide = pixels.astype(np.uint16) * 16
    first, second, third = (matched(p, RAMP) for p in (pixels, wide, wide.astype(np.float32)))
    np.testing.assert_allclose(first, second, atol=1e-6)
    np.testing.assert_allclose(second, third, atol=1e-6)


def test_16_bit_levels_between_two_8_bit_levels_stay_apart():
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64) + 30_000
    assert len(np.unique(matched(pixels, RAMP))) == 4096


@given(
    pixels=SMALL,
    greys=arrays(np.float64, 12, elements=st.floats(0, 1)),
    strength=st.floats(0, 1),
    gain_limit=st.none() | st.floats(0.1, 9),
    rank=st.sampled_from(["upper", "middle"]),
)
def test_matching_and_stretching_keep_the_order_of_the_levels_and_stay_within_0_and_1(
    pixels, greys, strength, gain_limit, rank
):
    choices = {"strength": strength, "gain_limit": gain_limit, "rank": rank}
    order = np.argsort(pixels, axis=None, kind="stable")
    results = (
        matched(pixels, Template.even(np.sort(greys)), **choices),
        stretch(pixels, histogram_of(pixels)),
    )
    for result in results:
        assert result.shape == pixels.shape
        assert result.min() >= 0
        assert result.max() <= 1
        assert (np.diff(result.reshape(-1)[order]) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (30, 40)])
def test_a_constant_image_becomes_the_templates_middle_or_half_grey(dtype, shape):
    pixels = np.full(shape, 200, dtype)
    square = Template.even(RAMP.greys**2)
    np.testing.assert_allclose(matched(pixels, square), 0.25)
    np.testing.assert_allclose(matched(pixels, square, gain_limit=1.0), 0.25)
    np.testing.assert_allclose(matched(pixels, square, strength=0.3), 0.7 * 0.5 + 0.3 * 0.25)
    np.testing.assert_allclose(stretch(pixels, histogram_of(pixels)), 0.5)


@pytest.mark.parametrize("reach", [3.4e38, 1e-40])
def test_floats_of_the_widest_and_the_narrowest_range_are_stretched(reach):
    pixels = np.linspace(-reach, reach, 101 * 101).reshape(101, 101).astype(np.float32)
    seen = stretch(pixels, histogram_of(pixels))
    np.testing.assert_allclose(seen.reshape(-1), np.linspace(0, 1, 101 * 101), atol=2e-3)


def test_half_the_strength_goes_half_the_way_from_the_stretch_to_the_template(discs):
    pixels = discs()
    none, half, whole = (matched(pixels, RAMP, strength=s) for s in (0, 0.5, 1))
    np.testing.assert_allclose(none, stretch(pixels, histogram_of(pixels)))
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-6)


def test_a_gain_limit_keeps_noise_down_and_the_median_where_it_was(discs):
    pixels = discs(cells=3, noise=3)
    free, limited = matched(pixels, RAMP), matched(pixels, RAMP, gain_limit=2.0)
    ground = pixels < 80
    assert limited[ground].std() < 0.5 * free[ground].std()
    low, high = np.quantile(pixels, [0.001, 0.999])
    levels = np.unique(pixels, return_index=True)
    steps = np.diff(limited.reshape(-1)[levels[1]]) / np.diff(levels[0].astype(float))
    assert steps.max() <= 2.0 / (high - low) * 1.05
    assert np.median(limited) == pytest.approx(np.median(free), abs=1e-6)


def test_the_middle_of_the_ranks_treats_dark_and_bright_alike():
    pixels = np.zeros((100, 100), np.uint8)
    pixels[:20] = np.arange(1, 101)
    middle, turned = (matched(p, RAMP, rank="middle") for p in (pixels, 255 - pixels))
    np.testing.assert_allclose(turned, 1 - middle, atol=1e-6)
    assert middle[-1, 0] == pytest.approx(0.4)
    assert matched(pixels, RAMP)[-1, 0] == pytest.approx(0.8)


def test_stretching_spreads_the_range_and_clips_the_rest():
    pixels = np.linspace(1000, 2000, 100 * 100).reshape(100, 100).astype(np.uint16)
    pixels[0, 0], pixels[-1, -1] = 0, 65535
    stretched = stretch(pixels, histogram_of(pixels))
    assert (stretched[0, 0], stretched[-1, -1]) == (0, 1)
    assert stretched[50, 0] == pytest.approx(0.5, abs=0.01)
