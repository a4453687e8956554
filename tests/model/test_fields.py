from dataclasses import replace

import numpy as np
import pytest

from model.fields import EASY, HARD, HIGH, LOW, MEDIUM, STYLES, dark_on_bright, generate_field


@pytest.mark.parametrize("name", STYLES)
def test_a_field_has_the_cells_asked_for_and_their_boxes_lie_in_it(name):
    field = generate_field(0, (200, 300), 40, STYLES[name])
    assert field.pixels.shape == (200, 300)
    assert 36 <= len(field.boxes) <= 40
    for box in field.boxes:
        assert 0 <= box.xmin < box.xmax <= 300
        assert 0 <= box.ymin < box.ymax <= 200


def test_the_same_seed_gives_the_same_field_and_another_does_not():
    first, again, other = (generate_field(s, (64, 64), 5, MEDIUM) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.boxes == again.boxes
    assert first.boxes != other.boxes


def test_a_box_is_tight_round_what_is_seen_of_its_cell():
    plain = replace(EASY, noise=0.0, unevenness=0.0, texture=0.0, touching=0.0)
    for seed in range(5):
        field = generate_field(seed, (120, 120), 1, plain)
        (box,) = field.boxes
        # The blur spreads an edge over about a pixel: half way down is where the cell ends.
        bright = field.pixels > 255 * (plain.background + 0.3 * plain.contrast)
        rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
        seen = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(box.xyxy_px, seen, atol=1.01)


def test_contrast_groups_differ_in_contrast():
    fields = [generate_field(3, (256, 256), 40, style).pixels for style in (LOW, MEDIUM, HIGH)]
    low, medium, high = (float(np.std(pixels)) for pixels in fields)
    assert 2 * low < medium < high / 1.5


def test_a_stained_field_is_dark_on_bright():
    bright, dark = (
        generate_field(3, (256, 256), 40, s).pixels for s in (HIGH, dark_on_bright(HIGH))
    )
    assert np.median(bright) < np.mean(bright)
    assert np.median(dark) > np.mean(dark)


@pytest.mark.parametrize("cells", [0, 1, 300])
def test_a_field_is_empty_or_crowded_as_asked(cells):
    field = generate_field(4, (512, 512), cells, HIGH)
    assert 0.97 * cells <= len(field.boxes) <= cells


def test_a_field_can_have_sixteen_bits():
    field = generate_field(5, (64, 64), 5, replace(HIGH, bits=16))
    assert field.pixels.dtype == np.uint16
    assert field.pixels.max() > 255


def test_a_hard_field_holds_blobs_that_are_no_cells():
    assert HARD.smudges >= 1.0
    cells_alone = generate_field(6, (256, 256), 20, replace(HARD, smudges=0.0, fibres=0.0))
    with_clutter = generate_field(6, (256, 256), 20, HARD)
    assert with_clutter.boxes == cells_alone.boxes
    assert with_clutter.pixels.mean() > cells_alone.pixels.mean() + 1
