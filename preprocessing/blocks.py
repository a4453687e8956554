"""Going through an image one block of rows at a time."""

from __future__ import annotations

#: Pixels of a block. numpy makes 8 bytes of each on the way, and what fits the processor's cache is
#: twice as fast.
BLOCK = 2**18


def row_blocks(shape: tuple[int, ...]) -> list[slice]:
    """Return slices of the rows of an image, shape (H, W, ...), each of about ``BLOCK`` pixels."""
    height, width = shape[:2]
    rows = max(BLOCK // width, 1)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]
