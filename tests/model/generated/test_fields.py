from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from model.generated.fields import EASY, HARD, HIGH, LOW, MEDIUM, dark_on_bright, generate_field
from model.generated.outlines import Outline, depths
from model.generated.painting import cell_patch


@pytest.mark.parametrize("style", [LOW, MEDIUM, HIGH, EASY, HARD], ids=lambda style: style.name)
def test_a_field_has_the_cells_asked_for_and_their_boxes_lie_in_it(style):
    field = generate_field(0, (200, 300), 40, style)
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


@pytest.mark.parametrize("outline", [Outline(6.0), Outline(3.0, arms=4.0), Outline(5.0, bend=0.1)])
def test_spindles_and_stars_are_longer_than_discs_of_their_area_and_whole(outline):
    for seed in range(5):
        depth = depths(np.random.default_rng(seed), 10.0, outline)
        inside = depth <= 1
        assert not (inside[0] | inside[-1] | inside[:, 0] | inside[:, -1]).any()
        assert inside.sum() == pytest.approx(np.pi * 10**2, rel=0.2)
        rows, columns = np.nonzero(inside)
        assert np.hypot(rows - rows.mean(), columns - columns.mean()).max() > 12


def test_translucent_cells_that_overlap_have_whole_boxes_and_are_darker_there():
    style = replace(EASY, noise=0.0, texture=0.0, spread=0.0, touching=1.0, overlap=0.5)
    over = generate_field(2, (200, 200), 12, style)
    beside = generate_field(2, (200, 200), 12, replace(style, overlap=0.0))
    assert min(min(b.width, b.height) for b in over.boxes) > 1.2 * style.radius
    assert over.pixels.max() > beside.pixels.max() + 10


def test_phase_contrast_shows_a_dark_cell_in_a_bright_halo():
    plain = replace(dark_on_bright(EASY), background=0.5, noise=0.0, unevenness=0.0, touching=0.0)
    phase = generate_field(1, (120, 120), 1, replace(plain, halo=1.0, halo_width=0.4))
    (box,) = phase.boxes
    cell = phase.pixels[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
    assert cell.min() < 127 - 20
    assert phase.pixels.max() > 127 + 10


def test_relief_shows_one_side_of_a_cell_bright_and_the_other_dark():
    plain = replace(EASY, background=0.5, noise=0.0, unevenness=0.0, texture=0.0, specks=0.0)
    pixels = generate_field(1, (120, 120), 1, replace(plain, relief=1.0)).pixels.astype(int)
    assert pixels.max() - 127 > 20
    assert 127 - pixels.min() > 20


def test_cells_that_have_rounded_up_are_smaller_and_stand_out_and_debris_is_no_cell():
    style = replace(EASY, contrast=0.1, noise=0.0, texture=0.0, spread=0.0, touching=0.0)
    flat, rounded = (
        generate_field(3, (300, 300), 8, replace(style, rounded=share)) for share in (0.0, 1.0)
    )
    assert max(b.width for b in rounded.boxes) < np.median([b.width for b in flat.boxes])
    assert rounded.pixels.max() > flat.pixels.max() + 15
    assert rounded.pixels.min() < flat.pixels.min() - 15
    littered = generate_field(3, (300, 300), 8, replace(style, debris=1.0))
    assert littered.boxes == flat.boxes
    assert littered.pixels.sum() > flat.pixels.sum()


def patch(**seen):
    """Return the levels of a large even cell, relative to their mean, and which pixels are it."""
    levels, inside = cell_patch(np.random.default_rng(2), 30.0, 0.0, 0.0, **seen)
    return levels / levels[inside].mean(), inside


def test_a_cell_that_spreads_flat_fades_to_its_edge():
    (plain, inside), (flat, again) = patch(), patch(thinning=0.9)
    assert (inside == again).all()
    rim = inside & ~ndimage.binary_erosion(inside, iterations=3)
    assert flat[rim].mean() < 0.6 * plain[rim].mean()


def test_a_nucleus_is_seen_inside_a_cell_alone():
    (plain, inside), (nucleated, again) = patch(), patch(nucleus=1.0)
    assert (inside == again).all()
    middle = ndimage.binary_erosion(inside, iterations=6)
    assert nucleated[middle].std() > 2 * plain[middle].std()
    rim = inside & ~ndimage.binary_erosion(inside, iterations=2)
    assert nucleated[rim].std() < 1.2 * plain[rim].std()


@pytest.mark.parametrize("optics", [{"halo": 1.0, "thinning": 0.95}, {"relief": 1.0}])
def test_no_cell_is_lost_in_the_noise(optics):
    style = replace(LOW, contrast=0.02, noise=0.02, unevenness=0.0, specks=0.0, **optics)
    for seed in range(3):
        noisy = generate_field(seed, (300, 300), 20, style)
        empty = generate_field(seed, (300, 300), 0, style).pixels.std()
        boxes = [np.array(box.xyxy_px, int) for box in noisy.boxes]
        varies = [noisy.pixels[y0:y1, x0:x1].std() for x0, y0, x1, y1 in boxes]
        assert min(varies) > 1.1 * empty


def test_a_backdrop_is_mottled_but_has_no_cells():
    plain, mottled = (
        generate_field(1, (300, 300), 12, replace(EASY, noise=0.0, backdrop=share))
        for share in (0.0, 0.3)
    )
    assert mottled.boxes == plain.boxes
    background = plain.pixels < 255 * (EASY.background + 0.02)
    assert mottled.pixels[background].std() > plain.pixels[background].std() + 5
