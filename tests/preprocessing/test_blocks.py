"""Blocks: all rows of an image once, in order."""

from __future__ import annotations

import pytest

from preprocessing.blocks import BLOCK, row_blocks


@pytest.mark.parametrize("shape", [(1, 1), (5000, 1000), (5000, 1000, 3), (3, 2 * BLOCK)])
def test_blocks_hold_every_row_once_and_no_more_pixels_than_fit_unless_a_row_has_more(shape):
    blocks = row_blocks(shape)
    assert [row for rows in blocks for row in range(rows.start, rows.stop)] == [*range(shape[0])]
    assert all((rows.stop - rows.start) * shape[1] <= max(BLOCK, shape[1]) for rows in blocks)
