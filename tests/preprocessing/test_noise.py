import numpy as np
import pytest

from preprocessing.noise import noise_of


def test_the_noise_of_an_image_is_its_deviation_whatever_lies_under_it():
    rng = np.random.default_rng(0)
    y, x = np.indices((200, 300))
    discs = ((y % 50 - 25) ** 2 + (x % 60 - 30) ** 2 < 200) * 0.5
    noisy = discs + x / 300 + rng.normal(0, 0.03, x.shape)
    assert noise_of(noisy) == pytest.approx(0.03, rel=0.05)


def test_an_even_slope_has_no_noise():
    y, x = np.indices((64, 64))
    assert noise_of(x / 64 + y / 32) == pytest.approx(0, abs=1e-12)
