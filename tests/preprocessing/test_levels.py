"""Levels: exact whatever their type, and made of them in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from preprocessing.errors import UnreadableImage
from preprocessing.levels import grey_levels, luminance

SIDE = 2000


@pytest.mark.parametrize(
    ("dtype", "least", "most"),
    [("f4", 0, 0), ("f8", 0, 4), ("f2", 0, 4), ("i4", 0, 4), ("i4", 2**30, 4), ("u4", 2**31, 4)],
)
def test_levels_are_made_in_the_memory_that_they_fill(dtype, least, most):
    levels = np.arange(SIDE * SIDE, dtype="i8").reshape(SIDE, SIDE) % 1000 + least
    assert added_bytes_a_pixel(levels.astype(dtype), grey_levels) < most + 1.5


def test_levels_that_are_no_number_cost_no_more_than_a_copy_and_a_mask():
    levels = np.zeros((SIDE, SIDE), np.float32)
    levels[3, 4] = np.nan
    assert added_bytes_a_pixel(levels, grey_levels) < 6


@pytest.mark.parametrize(("dtype", "most"), [("u1", 2), ("u2", 2), ("f4", 4)])
def test_colours_become_grey_in_the_memory_that_the_grey_fills(dtype, most):
    colours = np.random.default_rng(0).integers(0, 250, (SIDE, SIDE, 3)).astype(dtype)
    assert added_bytes_a_pixel(colours, luminance) < most + 2.5


def test_the_whole_range_of_64_bits_keeps_its_order():
    ends = np.iinfo("i8")
    shown = grey_levels(np.array([[ends.min, -1, ends.max]]))
    assert shown.tolist() == [[0, 2.0**63, 2.0**64]]


def test_one_bit_is_black_or_white():
    shown = grey_levels(np.array([[False, True]]))
    assert (shown.dtype, shown.tolist()) == (np.uint8, [[0, 255]])


def test_levels_that_are_no_real_numbers_are_refused():
    with pytest.raises(UnreadableImage, match="type complex64; save it with 8 or 16 bits"):
        grey_levels(np.ones((2, 2), np.complex64))


def added_bytes_a_pixel(pixels: np.ndarray, change: object) -> float:
    """Return what is held at the most beside the pixels given, a pixel of them."""
    tracemalloc.start()
    change(pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / SIDE**2
