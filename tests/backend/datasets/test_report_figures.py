from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from backend.datasets.palette import COLOURS
from backend.datasets.report_figures import CALIBRATED, LINE, draw_report
from model.boxes import Box, Detections
from model.judging.calibration import Calibration
from model.judging.evaluation import judge
from model.labels.examples import LabelledImage
from model.reports import EvaluationReport


def report(images: int, cells: int = 1, calibration: Calibration | None = None) -> EvaluationReport:
    """Judge this many images, in which all cells are found."""
    boxes = tuple(Box(20 * n, 0, 20 * n + 10, 10, "Cell") for n in range(cells))
    truth = [LabelledImage(Path("unread.png"), str(n), boxes) for n in range(images)]
    found = Detections(
        truth[0].xyxy_px, np.full(cells, 0.9, np.float32), np.zeros(cells, np.int64), ("Cell",)
    )
    groups = ["low"] * images
    return judge([found] * images, truth, ("Cell",), 0.5, groups, calibration).report


def pixels_of(colour: str, png: bytes) -> int:
    drawn = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return int((drawn == ImageColor.getrgb(colour)).all(axis=2).sum())


def test_a_part_of_enough_images_has_a_bar_and_one_of_too_few_has_none() -> None:
    assert pixels_of(COLOURS[0], draw_report(report(12), "enough")) > 1000
    assert pixels_of(COLOURS[0], draw_report(report(3), "too few")) == 0


def test_where_there_is_no_cell_there_is_no_curve() -> None:
    assert pixels_of(LINE, draw_report(report(3), "cells")) > 100
    assert pixels_of(LINE, draw_report(report(3, cells=0), "none")) == 0


def test_probabilities_are_drawn_beside_scores_where_a_policy_makes_them() -> None:
    told = draw_report(report(3, calibration=Calibration(0.5)), "told")
    assert pixels_of(CALIBRATED, told) > 0
    assert pixels_of(CALIBRATED, draw_report(report(3), "scores alone")) == 0


def test_a_report_of_before_curves_and_counts_were_kept_is_drawn_too() -> None:
    old = replace(report(12), curve=(), counts=(), by_density={})
    assert draw_report(old, "old").startswith(b"\x89PNG")
