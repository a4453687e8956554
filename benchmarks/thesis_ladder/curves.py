"""The record's columns over time as an SVG, a line for each model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from backend.datasets.palette import COLOURS, FAINT, INK, PAPER
from benchmarks.thesis_ladder.record import COLUMNS, Record

X = "elapsed_time"
ACROSS, PLOT_PX, MARGIN_PX, TOP_PX = 4, 200, 50, 40
STEP_PX = PLOT_PX + MARGIN_PX + 20

#: Points of one line: minutes and value.
Line = list[tuple[float, float]]


def draw_curves(series: Mapping[str, Sequence[Record]]) -> str:
    """Return an SVG with a plot for each column of the record but the time."""
    columns = [name for name in COLUMNS if name != X]
    rows = math.ceil(len(columns) / ACROSS)
    width, height = ACROSS * STEP_PX + MARGIN_PX, rows * STEP_PX + TOP_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        *_names(list(series)),
    ]
    for number, column in enumerate(columns):
        lines = {name: points(records, column) for name, records in series.items()}
        left = MARGIN_PX + number % ACROSS * STEP_PX
        top = TOP_PX + 20 + number // ACROSS * STEP_PX
        parts += _plot(column, lines, left, top)
    return "\n".join([*parts, "</svg>\n"])


def points(records: Sequence[Record], column: str) -> Line:
    """Return where a column is known."""
    pairs = [(record.elapsed_time, getattr(record, column)) for record in records]
    return [(x, y) for x, y in pairs if y is not None and math.isfinite(y)]


def _names(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        x = MARGIN_PX + 110 * number
        yield _text(x, 20, name, "start", COLOURS[number % len(COLOURS)])


def _plot(title: str, lines: Mapping[str, Line], left: int, top: int) -> Iterator[str]:
    every = [point for line in lines.values() for point in line] or [(0.0, 0.0)]
    most_x, most_y = (max(values) or 1.0 for values in zip(*every, strict=True))
    low = top + PLOT_PX
    box = f'x="{left}" y="{top}" width="{PLOT_PX}" height="{PLOT_PX}"'
    yield f'<rect {box} fill="none" stroke="{FAINT}"/>'
    yield _text(left + PLOT_PX / 2, top - 6, title, "middle")
    yield _text(left - 4, top + 8, f"{most_y:.3g}", "end")
    yield _text(left - 4, low, "0", "end")
    yield _text(left + PLOT_PX, low + 14, f"{most_x:.3g} min", "end")
    for number, line in enumerate(lines.values()):
        at = " ".join(
            f"{left + PLOT_PX * x / most_x:.1f},{low - PLOT_PX * y / most_y:.1f}" for x, y in line
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = INK) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
    )
