import hashlib
from pathlib import Path

import numpy as np
import pytest

from model.boxes import Box, Detections
from model.examples import LabelledImage
from model.versions import AveragePrecision, CountReport, EvaluationReport


@pytest.fixture(scope="session")
def labelled():
    """Make a labelled image of boxes; rows of (xmin, ymin, xmax, ymax[, label])."""

    def make(rows, name="a", side="held-out", path=Path("unread.png")):
        boxes = tuple(Box(*map(float, r[:4]), r[4] if len(r) > 4 else "Nucleus") for r in rows)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        return LabelledImage(Path(path), sha256, boxes, side, 0, name)

    return make


@pytest.fixture(scope="session")
def detections():
    """Make detections of rows of (xmin, ymin, xmax, ymax, score[, label])."""

    def make(rows, classes=("Nucleus",)):
        rows = sorted(rows, key=lambda row: -row[4])
        labels = [classes.index(r[5]) if len(r) > 5 else 0 for r in rows]
        edges = np.array([r[:4] for r in rows], np.float32).reshape(-1, 4)
        scores = np.array([r[4] for r in rows], np.float32)
        return Detections(edges, scores, np.array(labels, np.int64), classes)

    return make


@pytest.fixture(scope="session")
def report():
    """Make a report with what a test is about; the rest is as of a passable version."""

    def make(
        ap50=0.6,
        count_error=0.2,
        true=100,
        predicted=95,
        recall=0.8,
        images=("a", "b", "c"),
        caps_reached=(),
    ):
        precision = AveragePrecision(ap50, ap50 and ap50 / 2, ap50 and ap50 / 3)
        return EvaluationReport(
            mean=precision,
            any_class=precision,
            by_class={"Nucleus": precision},
            by_group={"low": precision},
            threshold=0.5,
            precision=0.8,
            recall=recall,
            f1=0.8,
            count=CountReport(true, predicted, count_error, 0.0, count_error),
            images=tuple(images),
            caps_reached=tuple(caps_reached),
        )

    return make
