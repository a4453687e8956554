"""Boxes as a lab draws them that wants a margin: the starter does not, so what is learned wins."""

from __future__ import annotations

from model.boxes import Box

#: Of a box's side, at each edge.
_MARGIN = 0.3


def with_margin(box: Box, side: int) -> Box:
    """Return a box drawn wide, inside a square image of so many pixels a side."""
    across, down = _MARGIN * box.width, _MARGIN * box.height
    return Box(
        max(0, box.xmin - across),
        max(0, box.ymin - down),
        min(side, box.xmax + across),
        min(side, box.ymax + down),
        box.label,
    )
