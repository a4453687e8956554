import numpy as np
import pytest
from skimage.transform import resize

from preprocessing.resizing import resized


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
