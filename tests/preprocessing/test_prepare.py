"""Preparing: the one path to a detector's pixels, and the boxes' way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.contrast import ContrastConfig
from preprocessing.fitting import Traits, fit_groups
from preprocessing.groups import ContrastGroups
from preprocessing.histograms import histogram_of
from preprocessing.images import ImageRecord
from preprocessing.prepare import (
    CONSTANT,
    FEW_LEVELS,
    UNLIKE_TRAINING,
    Prepared,
    part_seen,
    prepare,
    rescaled,
    seen_at,
)
from preprocessing.quantiles import profile_of

DTYPES = ("uint8", "uint16", "float32")


def record(pixels: np.ndarray) -> ImageRecord:
    return ImageRecord(pixels, sha256="")


def stretched(pixels: np.ndarray) -> Prepared:
    return prepare(record(pixels), ContrastGroups.none())


@pytest.fixture(scope="module")
def groups(discs):
    return fit_groups(
        [Traits(profile_of(discs(s, cells=25, height=h))) for h in (10, 40, 140) for s in range(4)]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.3, 1.0, 1.7])
def test_pixels_are_float32_between_0_and_1_at_the_scale_asked_for(discs, groups, dtype, scale):
    image = record(discs().astype(dtype))
    for chosen in (groups, ContrastGroups.none()):
        prepared = rescaled(prepare(image, chosen), scale)
        assert prepared.pixels.dtype == np.float32
        assert prepared.pixels.min() >= 0
        assert prepared.pixels.max() <= 1
        assert prepared.pixels.shape == (round(96 * scale), round(128 * scale))
        assert (prepared.raw_height, prepared.raw_width) == (96, 128)


def test_the_background_of_every_contrast_and_polarity_comes_out_at_one_grey(discs, groups):
    for height in (10, 40, 140):
        prepared = prepare(record(discs(50, cells=25, height=height)), groups)
        assert np.median(prepared.pixels) == pytest.approx(0.5, abs=0.02)
    dark = prepare(record(255 - discs(50, cells=25)), groups)
    assert np.median(dark.pixels) == pytest.approx(0.5, abs=0.02)
    assert UNLIKE_TRAINING in dark.flags


def test_bright_cells_stay_bright_and_dark_cells_dark(discs):
    bright = [discs(s, cells=25) for s in range(4)]
    dark = [255 - pixels for pixels in bright]
    groups = fit_groups([Traits(profile_of(p)) for p in bright + dark])
    cells = bright[0] > 120
    for pixels, sign in ((bright[0], 1), (dark[0], -1)):
        seen = prepare(record(pixels), groups).pixels
        assert sign * (seen[cells].mean() - seen[~cells].mean()) > 0.2


def test_the_group_and_the_distance_travel_with_the_pixels(discs, groups):
    image = record(discs(50, cells=25, height=140))
    prepared, assigned = prepare(image, groups), groups.assign(profile_of(image.pixels))
    assert (prepared.group, prepared.distance) == (assigned.group, assigned.distance)
    assert prepared.group == "high"
    assert prepared.flags == ()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (20, 30)])
def test_a_constant_image_of_any_size_is_one_grey_and_flagged(groups, dtype, shape):
    for chosen in (groups, ContrastGroups.none()):
        prepared = rescaled(prepare(record(np.full(shape, 77, dtype)), chosen), 0.5)
        assert min(prepared.pixels.shape) >= 1
        assert CONSTANT in prepared.flags
        np.testing.assert_allclose(prepared.pixels, 0.5, atol=1e-6)


@pytest.mark.parametrize("levels", [2, 7, 8])
def test_an_image_with_fewer_levels_than_a_camera_gives_is_flagged(levels):
    bands = np.repeat(np.arange(levels) * 30, 10)
    prepared = stretched(np.tile(bands, (40, 1)).astype(np.uint8))
    assert prepared.flags == ((FEW_LEVELS,) if levels < 8 else ())


@pytest.mark.parametrize("dtype", DTYPES)
def test_with_a_strength_of_0_images_are_stretched_whatever_the_template_constant_ones_too(
    discs, dtype
):
    named = [histogram_of(discs(9, height=20))]
    config = ContrastConfig(template="image", strength=0)
    groups = fit_groups([Traits(profile_of(discs(s))) for s in range(4)], config, named)
    for pixels in (discs(50), np.full((20, 30), 77)):
        image = record(pixels.astype(dtype))
        np.testing.assert_array_equal(prepare(image, groups).pixels, stretched(image.pixels).pixels)


def test_sharpness_is_measured_only_where_something_is_known_of_it(discs, monkeypatch):
    monkeypatch.setattr("preprocessing.prepare.sharpness_of", None)
    assert stretched(discs()).flags == ()


def test_shrinking_smooths_first():
    stripes = np.tile(np.uint8([0, 200]), (60, 30))
    seen = rescaled(stretched(stripes), 0.25).pixels
    np.testing.assert_allclose(seen[2:-2, 2:-2], 0.5, atol=0.05)


def test_a_shrunk_or_grown_disc_lies_where_its_box_says():
    y, x = np.indices((120, 160))
    pixels = (((y - 40) ** 2 + (x - 100) ** 2 < 20**2) * 200).astype(np.uint8)
    box = np.array([[80.5, 20.5, 120.5, 60.5]])
    for scale in (0.37, 0.5, 2.0):
        prepared = rescaled(stretched(pixels), scale)
        rows, columns = np.nonzero(prepared.pixels > 0.5)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(prepared.seen_from_raw(box)[0], seen, atol=1)


@settings(deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    scale=st.floats(0.2, 2.5),
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5),
)
def test_a_box_there_and_back_is_the_same_box(height, width, scale, corners):
    size = np.array([width, height, width, height])
    boxes = (np.array(corners).reshape(-1, 4) * size).astype(np.float32)
    prepared = rescaled(stretched(np.zeros((height, width), np.uint8)), scale)
    there = prepared.seen_from_raw(boxes)
    assert there.shape == boxes.shape
    assert np.abs(prepared.to_raw(there) - boxes).max(initial=0) < 1e-3


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_part_of_what_is_seen_is_an_image_of_its_own(discs, scale):
    whole = rescaled(stretched(discs()), scale)
    part = part_seen(seen_at(stretched(discs()), scale), slice(0, 20), slice(8, 48))
    np.testing.assert_array_equal(part.pixels, whole.pixels[:20, 8:48])
    assert (part.scale, part.seen_shape) == (scale, (20, 40))
    np.testing.assert_allclose(part.to_raw([[0, 0, 40, 10]]), [[0, 0, 40 / scale, 10 / scale]])


def test_a_box_over_the_edge_is_clipped_to_the_raw_image(discs):
    prepared = rescaled(stretched(discs()), 0.5)
    back = prepared.to_raw([[-3, -4, 1000, 20]])
    np.testing.assert_allclose(back, [[0, 0, 128, 40]])


def test_a_scale_of_zero_is_refused(discs):
    with pytest.raises(ValueError, match="above 0"):
        rescaled(stretched(discs()), 0)
