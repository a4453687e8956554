"""Shows a replay as text and as a picture: effort by milestone, and image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from xml.sax.saxutils import escape

from backend.actions import KINDS, Actions
from backend.columns import aligned
from backend.datasets.palette import COLOURS, FAINT, INK, PAPER
from backend.replay.ledger import Row, effort_of_rows, recall_of_rows, seconds_a_cell
from model.wording import counted

LEFT_OUT = ("missed", "accepted", "recall")
HEADINGS = ("learned from", "images", "cells", "actions/cell", "s/cell", *KINDS, *LEFT_OUT)
#: Number of images averaged for a point of the curve.
WINDOW = 5
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 380, 60, 20, 40, 50
CURVE, FLOOR = COLOURS[6], COLOURS[2]


def table_of(rows: Sequence[Row]) -> str:
    """Return a line for each milestone, one for the last quarter of the images, and one for all.

    Recall is that of the submitted boxes: cells that a careless annotator missed cost nothing.
    """
    parts = [
        (counted(learned, "image"), list(part))
        for learned, part in groupby(rows, key=lambda row: row.learned)
    ]
    parts += [("last quarter", list(last_quarter(rows))), ("all", list(rows))]
    return "\n".join(aligned([HEADINGS, *(_line(name, part) for name, part in parts)]))


def last_quarter(rows: Sequence[Row]) -> Sequence[Row]:
    """Return the rows of the last quarter of the images, at least one."""
    return rows[-max(1, len(rows) // 4) :]


def curve_svg(rows: Sequence[Row], title: str, floor: float | None = None) -> str:
    """Draw the effort image by image, as a mean over ``WINDOW``, with each change of version.

    Parameters
    ----------
    floor
        Effort of the floor, drawn as a level line.
    """
    windows = [rows[max(0, end - WINDOW) : end] for end in range(1, len(rows) + 1)]
    efforts = [effort_of_rows(part) for part in windows]
    plane = _Plane(max(1, len(rows)), max(1.0, *efforts, floor or 0.0))
    points = " ".join(
        "{:.1f},{:.1f}".format(*plane.at(number, effort))
        for number, effort in enumerate(efforts, start=1)
    )
    changes = (number for number, (a, b) in enumerate(pairwise(rows), 1) if a.served != b.served)
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        _text(LEFT, TOP / 2, title + _left_out(rows)),
        *(plane.level(share, f"{share:g}", FAINT) for share in (0, 0.5, 1)),
        *(plane.upright(number) for number in changes),
        f'<polyline points="{points}" fill="none" stroke="{CURVE}" stroke-width="2"/>',
        plane.level(floor, "floor", FLOOR) if floor is not None else "",
        _text(
            LEFT,
            HEIGHT - 14,
            f"{counted(len(rows), 'image')} in order; each broken line: a new version",
        ),
    ]
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>\n'


@dataclass(frozen=True)
class _Plane:
    """Images across, effort up to ``most``."""

    images: int
    most: float

    def at(self, number: float, effort: float) -> tuple[float, float]:
        """Return a point's place in the picture."""
        x = LEFT + (WIDTH - LEFT - RIGHT) * number / self.images
        return x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - effort / self.most)

    def level(self, effort: float, name: str, colour: str) -> str:
        y = self.at(0, effort)[1]
        return _line_between((LEFT, y), (WIDTH - RIGHT, y), colour) + _text(8, y + 4, name)

    def upright(self, number: float) -> str:
        return _line_between(self.at(number, 0), self.at(number, self.most), FAINT, "3 3")


def _line(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    actions = sum((row.actions for row in rows), Actions())
    return (
        name,
        str(len(rows)),
        str(sum(row.cells for row in rows)),
        f"{effort_of_rows(rows):.3f}",
        f"{seconds_a_cell(rows):.2f}",
        *(str(number) for number in vars(actions).values()),
        str(sum(row.missed for row in rows)),
        str(sum(row.accepted for row in rows)),
        f"{recall_of_rows(rows):.3f}",
    )


def _left_out(rows: Sequence[Row]) -> str:
    recall = recall_of_rows(rows)
    return f", at a recall of {recall:.3f}" if recall < 1 else ""


def _line_between(
    start: tuple[float, float], end: tuple[float, float], colour: str, dashes: str = "none"
) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-dasharray="{dashes}"/>'


def _text(x: float, y: float, text: str) -> str:
    style = f'font-family="sans-serif" font-size="13" fill="{INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
