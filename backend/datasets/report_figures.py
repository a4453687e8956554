"""Draws a report as one picture: precision over recall, counts, reliability, AP50 of each part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from backend.datasets.palette import COLOURS, FAINT, INK, PAPER
from model.reports import EvaluationReport, ReliabilityBin
from model.wording import counted
from preprocessing.images import encode_png

PLOT_PX = 260
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 52, 20, 76, 44
PANEL_PX = LEFT_PX + PLOT_PX + RIGHT_PX
TEXT_PX = 12
BAR_PX = 14
LINE = COLOURS[6]
#: Colour of probabilities, beside the scores that they are made from.
CALIBRATED = COLOURS[2]


@dataclass(frozen=True)
class _Plot:
    """A square of the sheet; its axes run from 0 to ``most``."""

    pen: ImageDraw.ImageDraw
    left: int
    most: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point on the sheet, in pixels."""
        low = TOP_PX + PLOT_PX
        return self.left + PLOT_PX * x / self.most, low - PLOT_PX * y / self.most

    def frame(self, title: str, x_name: str, y_name: str) -> None:
        box = (*self.at(0, self.most), *self.at(self.most, 0))
        self.pen.rectangle(box, outline=FAINT)
        middle, low = self.left + PLOT_PX / 2, TOP_PX + PLOT_PX
        self.pen.text((middle, TOP_PX - 22), title, fill=INK, anchor="mb")
        self.pen.text((middle, low + 22), x_name, fill=INK, anchor="mt")
        self.pen.text((self.left, TOP_PX - 4), y_name, fill=INK, anchor="lb")
        for share in (0, 0.5, 1):
            value = f"{share * self.most:g}"
            x, y = self.at(share * self.most, share * self.most)
            self.pen.text((x, low + 5), value, fill=INK, anchor="mt")
            if y_name:
                self.pen.text((self.left - 5, y), value, fill=INK, anchor="rm")


def draw_report(report: EvaluationReport, title: str) -> bytes:
    """Return a PNG of four plots: precision over recall, counts, reliability, AP50 by part.

    Parameters
    ----------
    title
        A line above the plots, such as the name of the version.
    """
    sheet = Image.new("RGB", (4 * PANEL_PX, TOP_PX + PLOT_PX + BOTTOM_PX), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.font = ImageFont.load_default(TEXT_PX)
    pen.text((LEFT_PX, 10), title, fill=INK)
    _draw_curve(_Plot(pen, LEFT_PX, 1), report)
    _draw_counts(pen, LEFT_PX + PANEL_PX, report)
    _draw_reliability(_Plot(pen, LEFT_PX + 2 * PANEL_PX, 1), report)
    _draw_parts(_Plot(pen, LEFT_PX + 3 * PANEL_PX, 1), report)
    return encode_png(np.asarray(sheet))


def _draw_curve(plot: _Plot, report: EvaluationReport) -> None:
    ap50 = report.any_class.ap50
    figure = "no cell to find" if ap50 is None else f"AP50 {ap50:.3f}"
    plot.frame(f"any class, IoU 0.5: {figure}", "recall", "precision")
    if report.curve:
        steps = [plot.at(i / (len(report.curve) - 1), p) for i, p in enumerate(report.curve)]
        plot.pen.line(steps, fill=LINE, width=2)
    _mark(plot, report.recall, report.precision)


def _draw_counts(pen: ImageDraw.ImageDraw, left: int, report: EvaluationReport) -> None:
    most = max((max(pair) for pair in report.counts), default=0)
    plot = _Plot(pen, left, max(10, math.ceil(most / 10) * 10))
    error = f"{report.count.error:.1%}"
    plot.frame(f"cells an image: count error {error}", "true", "predicted")
    plot.pen.line((*plot.at(0, 0), *plot.at(plot.most, plot.most)), fill=FAINT)
    for predicted, true in report.counts:
        _mark(plot, true, predicted)


def _draw_reliability(plot: _Plot, report: EvaluationReport) -> None:
    after = report.calibrated_error
    told = "" if after is None else f", of probabilities {after:.3f}"
    plot.frame(f"calibration error {report.calibration_error:.3f}{told}", "score", "right")
    plot.pen.line((*plot.at(0, 0), *plot.at(1, 1)), fill=FAINT)
    _draw_bins(plot, report.reliability, LINE)
    _draw_bins(plot, report.calibrated, CALIBRATED)
    if report.calibrated:
        for row, (name, colour) in enumerate((("scores", LINE), ("probabilities", CALIBRATED))):
            where = (plot.left + 6, TOP_PX + 4 + row * (TEXT_PX + 4))
            plot.pen.text(where, name, fill=colour)


def _draw_bins(plot: _Plot, bins: Sequence[ReliabilityBin], colour: str) -> None:
    if len(bins) > 1:
        plot.pen.line([plot.at(one.score, one.right) for one in bins], fill=colour, width=2)
    for one in bins:
        _mark(plot, one.score, one.right, colour)


def _draw_parts(plot: _Plot, report: EvaluationReport) -> None:
    """Draw a bar for each part that has a figure; write that the others have none."""
    groups = {f"contrast {name}": part for name, part in report.by_group.items()}
    parts = list((groups | report.by_density).items())
    plot.frame("AP50 by contrast group and by density", "AP50", "")
    step = PLOT_PX / max(1, len(parts))
    for number, (name, part) in enumerate(parts):
        middle = TOP_PX + step * (number + 0.5)
        ap50 = part.any_class.ap50 if part.any_class else None
        if ap50 is not None:
            bar = (plot.left, middle, plot.at(ap50, 0)[0], middle + BAR_PX)
            plot.pen.rectangle(bar, fill=COLOURS[0])
        images = "" if part.images is None else f", {counted(part.images, 'image')}"
        figure = ": too few" if ap50 is None else f": {ap50:.3f}"
        where = (plot.left + 6, middle - 2)
        plot.pen.text(where, f"{name}{images}{figure}", fill=INK, anchor="lb")


def _mark(plot: _Plot, x: float, y: float, colour: str = COLOURS[5]) -> None:
    across, down = plot.at(x, y)
    plot.pen.ellipse((across - 3, down - 3, across + 3, down + 3), fill=colour)
