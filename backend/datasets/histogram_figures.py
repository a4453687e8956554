"""Draws images before and after matching with their histograms: Tare 2020, figures 17, 20, 21."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from backend.datasets.palette import COLOURS, INK, PAPER
from preprocessing.arrays import Grey
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord, encode_png, to_display
from preprocessing.prepare import prepare

PANEL_PX, PAD_PX, TITLE_PX, TEXT_PX = 320, 16, 26, 15
BINS = 128
BARS, CUMULATIVE = COLOURS[0], COLOURS[5]


@dataclass(frozen=True, eq=False)
class Panel:
    """An image to look at, and the share of its pixels in each of ``BINS`` bins.

    Parameters
    ----------
    shown
        Shape (H, W), uint8.
    shares
        Shape (BINS,), summing to 1.
    ends
        The levels of the darkest and the brightest bin.
    """

    title: str
    shown: NDArray[np.uint8]
    shares: NDArray[np.float64]
    ends: tuple[str, str]


def before_and_after(name: str, image: ImageRecord, groups: ContrastGroups) -> tuple[Panel, Panel]:
    """Return an image as in its file, and as a detector sees it."""
    prepared = prepare(image, groups)
    said = f"as the detector sees it: {groups.mode}, {prepared.group}"
    flags = f" ({', '.join(prepared.flags)})" if prepared.flags else ""
    shown = np.rint(prepared.pixels * 255).astype(np.uint8)
    after = Panel(said + flags, shown, _shares(prepared.pixels, 0, 1), ("0", "1"))
    return _raw_panel(name, image.pixels), after


def draw(rows: Sequence[tuple[Panel, Panel]]) -> bytes:
    """Return a PNG with a row for each pair: each image beside its histogram and running sum."""
    height = TITLE_PX + PANEL_PX + PAD_PX
    size = 4 * PANEL_PX + 5 * PAD_PX, len(rows) * height + PAD_PX
    sheet = Image.new("RGB", size, PAPER)
    for number, row in enumerate(rows):
        for half, panel in enumerate(row):
            left = PAD_PX + half * 2 * (PANEL_PX + PAD_PX)
            _draw_panel(sheet, panel, left, PAD_PX + number * height)
    return encode_png(np.asarray(sheet))


def _raw_panel(name: str, pixels: Grey) -> Panel:
    """Return an image at the levels that it is read with; 8-bit images are not stretched."""
    if pixels.dtype == np.uint8:
        return Panel(name, pixels.astype(np.uint8), _shares(pixels, 0, 255), ("0", "255"))
    low, high = float(pixels.min()), float(pixels.max())
    ends = f"{low:.4g}", f"{high:.4g}"
    return Panel(f"{name} (stretched)", to_display(pixels), _shares(pixels, low, high), ends)


def _shares(pixels: NDArray[np.generic], low: float, high: float) -> NDArray[np.float64]:
    high = max(high, np.nextafter(low, np.inf))
    counts, _ = np.histogram(pixels, BINS, (low, high))
    return counts / pixels.size


def _draw_panel(sheet: Image.Image, panel: Panel, left: int, top: int) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    pen.text((left, top), _cut(panel.title, font), fill=INK, font=font)
    picture = Image.fromarray(panel.shown)
    picture.thumbnail((PANEL_PX, PANEL_PX))
    sheet.paste(picture.convert("RGB"), (left, top + TITLE_PX))
    _draw_histogram(pen, panel, left + PANEL_PX + PAD_PX, top + TITLE_PX)


def _draw_histogram(pen: ImageDraw.ImageDraw, panel: Panel, left: int, top: int) -> None:
    floor, font = top + PANEL_PX - 2 * TEXT_PX, ImageFont.load_default(TEXT_PX - 2)
    height = floor - top
    width = PANEL_PX / BINS
    # Square roots: otherwise the background would hide the cells.
    tops = np.sqrt(panel.shares / panel.shares.max())
    for number, part in enumerate(tops):
        x = left + number * width
        if part > 0:
            pen.rectangle((x, floor - part * height, x + width - 1, floor), fill=BARS)
    line = [
        (left + (number + 1) * width, floor - share * height)
        for number, share in enumerate(np.cumsum(panel.shares))
    ]
    pen.line([(left, floor), *line], fill=CUMULATIVE, width=2)
    pen.line([(left, floor), (left + PANEL_PX, floor)], fill=INK)
    pen.text((left, floor + 4), panel.ends[0], fill=INK, font=font)
    pen.text((left + PANEL_PX, floor + 4), panel.ends[1], fill=INK, font=font, anchor="ra")
    middle = left + PANEL_PX / 2
    pen.text((middle, floor + 4), "bars: square roots; line: sum", fill=INK, font=font, anchor="ma")


def _cut(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return as much of a title as fits over an image and its histogram."""
    width = 2 * PANEL_PX
    while font.getlength(title) > width:
        title = title[:-2] + "…"
    return title
