import numpy as np
import pytest

from model.looking.magnification import is_unlike, learned_sides, mixed, typical_side


def cells(side, number=5):
    corners = np.arange(number, dtype=np.float32)[:, None] * 3 * side
    return np.concatenate([corners, corners, corners + side, corners + side], axis=1)


def test_a_few_cells_do_not_tell_what_is_typical_of_an_image(labelled):
    assert typical_side(cells(12, 4)) is None
    assert typical_side(cells(12, 5)) == 12
    assert learned_sides([labelled(cells(12, 4))]) is None
    images = [labelled(cells(side, number)) for side, number in ((20, 5), (12, 9), (90, 1))]
    assert learned_sides(images) == (12, 20)


@pytest.mark.parametrize(
    ("side", "unlike"), [(6, True), (9, False), (16, False), (28, False), (40, True)]
)
def test_cells_of_the_next_magnification_are_unlike_those_learned_from(side, unlike):
    assert is_unlike(side, (12.0, 20.0)) == unlike


def test_nothing_is_unlike_where_the_size_is_not_known():
    assert not is_unlike(None, (12.0, 20.0))


def test_images_of_several_magnifications_are_noted():
    assert mixed(None) == mixed((10.0, 20.0)) == ()
    (note,) = mixed((10.0, 40.0))
    assert "10 px large in one of the images learned from and 40 px in another" in note
