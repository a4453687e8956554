import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.rcnn.cut import CUT
from model.training.augment import (
    Variation,
    blurred,
    crop,
    flip,
    noisy,
    resized,
    shaded,
    through_other_optics,
    tone,
    transpose,
    vary,
)
from model.training.data import Example


def marked(height=40, width=60, boxes=((5, 8, 15, 20), (40, 30, 60, 40))):
    """An image that is 1 inside its boxes and 0 elsewhere."""
    pixels = np.zeros((height, width), np.float32)
    for xmin, ymin, xmax, ymax in boxes:
        pixels[ymin:ymax, xmin:xmax] = 1
    labels = np.arange(1, len(boxes) + 1)
    return Example(pixels, np.array(boxes, np.float32).reshape(-1, 4), labels)


def assert_boxes_lie_on_the_cells(example):
    drawn = np.zeros_like(example.pixels)
    for xmin, ymin, xmax, ymax in example.xyxy_px.astype(int):
        assert (example.pixels[ymin:ymax, xmin:xmax] > 0.5).all()
        drawn[ymin:ymax, xmin:xmax] = 1
    np.testing.assert_array_equal(drawn > 0.5, example.pixels > 0.5)


@given(across=st.booleans(), down=st.booleans(), turned=st.booleans())
def test_boxes_follow_their_cells_to_the_pixel(across, down, turned):
    example = flip(marked(), across, down)
    assert_boxes_lie_on_the_cells(transpose(example) if turned else example)


@given(seed=st.integers(0, 2**32))
def test_whatever_is_drawn_the_boxes_stay_on_their_cells(seed):
    for example in vary([marked(), marked()], np.random.default_rng(seed), Variation(0)):
        assert_boxes_lie_on_the_cells(example)


@given(seed=st.integers(0, 2**32))
def test_a_batch_keeps_one_orientation(seed):
    varied = vary([marked()] * 4, np.random.default_rng(seed), Variation(0))
    assert len({example.pixels.shape for example in varied}) == 1


@given(seed=st.integers(0, 2**32))
def test_a_crop_is_no_larger_than_asked_and_tells_cells_of_which_less_than_half_is_seen(seed):
    whole = marked()
    window = crop(whole, 32, np.random.default_rng(seed))
    assert max(window.pixels.shape) <= 32
    assert (window.xyxy_px >= 0).all()
    assert (window.xyxy_px <= 32).all()
    assert_boxes_lie_on_the_cells(window)  # what is left of a cell has its box too
    told, full = window.labels != CUT, areas(whole.xyxy_px)
    assert (areas(window.xyxy_px[told]) >= 0.5 * full[window.labels[told] - 1]).all()
    assert (areas(window.xyxy_px[~told]) < 0.5 * full.max()).all()


def test_a_crop_leaves_a_small_image_alone():
    example = marked()
    assert crop(example, 60, np.random.default_rng(0)) is example


def areas(xyxy_px):
    return (xyxy_px[:, 2:] - xyxy_px[:, :2]).prod(axis=1)


def test_windows_end_where_the_image_does_as_often_as_elsewhere():
    """Of a place in the middle of an image as few windows end within two pixels."""
    image, rng = marked(100, 400, ()), np.random.default_rng(0)
    image.pixels[:] = np.arange(400)
    windows = [crop(image, 100, rng).pixels for _ in range(400)]
    at_the_edge, in_the_middle = (
        sum(abs(window[0, 0] - place) <= 2 for window in windows) for place in (0, 150)
    )
    assert at_the_edge > 10 * max(1, in_the_middle) / 2


def test_half_of_the_crops_look_at_a_cell_of_a_sparse_image():
    sparse = marked(500, 500, ((240, 240, 250, 250),))
    rng = np.random.default_rng(0)
    seen = [np.sum(crop(sparse, 50, rng).labels != CUT) for _ in range(100)]
    assert sum(seen) > 35


def test_tone_changes_levels_a_little_and_stays_within_0_and_1():
    example = Example(np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10), *empty())
    toned = tone(example, np.random.default_rng(0), 0.15).pixels
    assert 0 < np.abs(toned - example.pixels).max() < 0.2
    assert toned.min() >= 0
    assert toned.max() <= 1


def test_the_same_seed_varies_the_same_way():
    one, other = (vary([marked()], np.random.default_rng(7), Variation(32))[0] for _ in range(2))
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_an_image_without_cells_is_varied_too():
    blank = Example(np.zeros((50, 50), np.float16), *empty())
    assert vary([blank], np.random.default_rng(0), Variation(32))[0].pixels.shape == (32, 32)


def empty():
    return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_pixels_come_out_as_float32(dtype):
    example = Example(np.zeros((8, 8), dtype), *empty())
    assert vary([example], np.random.default_rng(0), Variation(0))[0].pixels.dtype == np.float32


def test_every_image_or_none_is_inverted_as_its_share_says():
    example = marked()
    (same,) = vary([example], np.random.default_rng(3), Variation(0, tone=0))
    (other,) = vary([example], np.random.default_rng(3), Variation(0, tone=0, invert=1))
    np.testing.assert_allclose(other.pixels, 1 - same.pixels, atol=1e-6)
    np.testing.assert_array_equal(other.xyxy_px, same.xyxy_px)


@given(seed=st.integers(0, 2**32), zoom=st.floats(0.1, 0.7))
def test_a_closer_or_farther_look_brings_cells_to_another_size_and_boxes_with_them(seed, zoom):
    (varied,) = vary(
        [marked(200, 200, ((80, 80, 120, 120),))],
        np.random.default_rng(seed),
        Variation(100, zoom=zoom, tone=0),
    )
    assert max(varied.pixels.shape) <= 101
    for xmin, ymin, xmax, ymax in varied.xyxy_px:
        whole = varied.pixels[round(ymin) + 1 : round(ymax) - 1, round(xmin) + 1 : round(xmax) - 1]
        assert (whole > 0.5).all()
        assert xmax - xmin <= 40 * np.exp(zoom) + 2


def test_an_example_made_twice_as_large_has_boxes_twice_as_large():
    larger = resized(marked(), 2.0)
    assert larger.pixels.shape == (80, 120)
    np.testing.assert_allclose(larger.xyxy_px, 2 * marked().xyxy_px)


def test_shade_blur_and_noise_leave_boxes_alone_and_levels_within_0_and_1():
    rng = np.random.default_rng(0)
    for changed in (shaded(marked(), rng, 0.5), blurred(marked(), 1.0), noisy(marked(), rng, 0.1)):
        np.testing.assert_array_equal(changed.xyxy_px, marked().xyxy_px)
        assert 0 <= changed.pixels.min() < changed.pixels.max() <= 1
        assert np.abs(changed.pixels - marked().pixels).max() > 0.05


@given(seed=st.integers(0, 2**32))
def test_another_microscope_leaves_boxes_alone_and_cells_where_they_were(seed):
    example = marked(height=96, width=96, boxes=((30, 30, 60, 60),))
    seen = through_other_optics(example, np.random.default_rng(seed))
    np.testing.assert_array_equal(seen.xyxy_px, example.xyxy_px)
    assert seen.pixels.min() >= 0
    assert seen.pixels.max() <= 1
    assert seen.pixels.dtype == np.float32
    # Nothing happens far from the cell, and its edge is seen whatever the optics.
    assert np.ptp(seen.pixels[:, 92:]) < np.ptp(seen.pixels[25:65, 25:65])


def test_shade_takes_the_light_asked_from_side_to_side_and_again_from_the_corners_at_most():
    bright = Example(np.ones((30, 40), np.float32), *empty())
    for seed in range(200):
        seen = shaded(bright, np.random.default_rng(seed), 0.4).pixels
        assert seen.max() == pytest.approx(1)
        # A corner loses most / 2 of each slope and twice that of the fall-off; the brightest
        # place, of which all is a share, is no brighter than 1 + most / 4.
        assert seen.min() >= (1 - 2 * 0.4) / (1 + 0.4 / 4)


def test_an_example_far_off_its_scale_shows_only_cells_that_can_still_be_found():
    boxes = [(x, y, x + 60, y + 60) for x in (0, 100, 200) for y in (0, 100, 200)]
    variation, widths = Variation(160, astray=1.0), []
    for seed in range(40):
        (varied,) = vary([marked(300, 300, boxes)], np.random.default_rng(seed), variation)
        widths += list(varied.xyxy_px[:, 2] - varied.xyxy_px[:, 0])
    # Three times nearer they are 180 pixels wide, six times farther 10: neither is to be found.
    assert widths
    assert min(widths) >= 13
    assert max(widths) <= 21
