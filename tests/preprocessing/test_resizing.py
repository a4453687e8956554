import numpy as np
import pytest
from skimage.transform import resize

from preprocessing.resizing import resized, resized_part


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((61, 80), (43, 57)),
        ((61, 80), (9, 11)),
        ((40, 33), (120, 99)),
        ((90, 7), (45, 21)),
        ((200, 150), (2, 1)),
        ((1, 5), (1, 2)),
        ((3, 1), (7, 2)),
    ],
)
def test_an_image_becomes_what_scikit_image_makes_of_it(old, new):
    pixels = np.random.default_rng(0).random(old, np.float32)
    expected = resize(pixels, new, order=1, mode="reflect", anti_aliasing=True)
    found = resized(pixels, new)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("new", [(120, 99), (95, 80), (20, 33), (9, 11)])
def test_a_part_is_that_of_the_whole_bit_for_bit(new):
    pixels = np.random.default_rng(0).random((40, 33), np.float32)
    whole = resized(pixels, new)
    for rows, columns in ((slice(0, 5), slice(3, 9)), (slice(4, new[0]), slice(8, new[1]))):
        part = resized_part(pixels, new, rows, columns)
        np.testing.assert_array_equal(part, whole[rows, columns])
        assert part.flags.c_contiguous
