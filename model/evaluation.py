"""What a version is worth on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.boxes import Boolean, Detections, Float32
from model.errors import NothingToLearn
from model.examples import LabelledImage
from model.loaded import LoadedVersion
from model.pairing import any_class, pair
from model.precision import average_precision, mean_precision
from model.versions import AveragePrecision, CountReport, EvaluationReport

#: Where nothing can be learned from the examples: the middle of the scale.
DEFAULT_THRESHOLD = 0.5


def evaluate_version(
    loaded: LoadedVersion,
    images: Sequence[LabelledImage],
    classes: Sequence[str],
    default_class: str = "",
    threshold: float | None = None,
) -> EvaluationReport:
    """Judge a version as it serves: every image through the one path of `LoadedVersion.find`.

    Parameters
    ----------
    default_class
        What to call the boxes of a version that knows no classes; the first class when empty.
    threshold
        Score from which a box counts; the version's own when None.
    """
    name = default_class or next(iter(classes), "")
    # One by one: a padded batch is not quite what serving sees, and a set may not fit in memory.
    found = [loaded.find([image.read()], default_class=name)[0] for image in images]
    return evaluate(
        [each.detections for each in found],
        images,
        classes,
        loaded.version.threshold if threshold is None else threshold,
        groups=[each.prepared.group for each in found],
    )


def evaluate(
    found: Sequence[Detections],
    truth: Sequence[LabelledImage],
    classes: Sequence[str],
    threshold: float,
    groups: Sequence[str] = (),
) -> EvaluationReport:
    """Judge what was found against the truth.

    Parameters
    ----------
    found, truth
        One each for an image, in the same order and in the same pixels.
    classes
        The classes to judge by name; boxes of other names count for any class alone.
    threshold
        Score from which a box counts.
    groups
        The contrast group of each image; empty: no report by group.

    Raises
    ------
    NothingToLearn
        When there is no image to judge on.
    """
    if not truth:
        raise NothingToLearn("no image to judge on: correct at least three, one is then held out")
    merged = [any_class(each) for each in found]
    boxes = [image.xyxy_px for image in truth]
    by_class = {name: _precision_of(name, found, truth) for name in classes}
    score = _Score.of(merged, boxes, threshold)
    return EvaluationReport(
        mean=mean_precision(list(by_class.values())),
        any_class=average_precision(merged, boxes),
        by_class=by_class,
        by_group=_by_group(merged, boxes, groups),
        threshold=threshold,
        precision=score.precision,
        recall=score.recall,
        f1=score.f1,
        count=count_report([len(m.above(threshold)) for m in merged], [len(b) for b in boxes]),
        images=tuple(image.sha256 for image in truth),
        caps_reached=tuple(sorted({cap for each in found for cap in each.caps_reached})),
    )


def best_f1_threshold(found: Sequence[Detections], truth: Sequence[LabelledImage]) -> float:
    """Return the score above which boxes of any class have the best F1.

    Half way to the next box below, so that a box a little less sure in another image still shows;
    0.5 where no box is right.
    """
    merged = [any_class(each) for each in found]
    rights = [pair(m.xyxy_px, t.xyxy_px) for m, t in zip(merged, truth, strict=True)]
    scores = np.concatenate([np.zeros(0, np.float32), *(m.scores for m in merged)])
    right = np.concatenate([np.zeros(0, np.bool_), *rights])
    if not right.any():
        return DEFAULT_THRESHOLD
    levels, f1 = _f1_by_score(scores, right, sum(len(image.boxes) for image in truth))
    best = int(f1.argmax())
    below = levels[best + 1] if best + 1 < len(levels) else 0.0
    return float(levels[best] + below) / 2


def count_report(predicted: Sequence[int], true: Sequence[int]) -> CountReport:
    """Compare counts, one of each for an image.

    Where no image has a cell, the errors are relative to one cell: a false box then counts as 1.
    """
    off = np.asarray(predicted) - np.asarray(true)
    cells = np.asarray(true)
    total = max(int(cells.sum()), 1)
    relative = np.abs(off[cells > 0]) / cells[cells > 0]
    return CountReport(
        true=int(cells.sum()),
        predicted=int(np.sum(predicted)),
        error=float(np.abs(off).sum() / total),
        bias=float(off.sum() / total),
        median_error=float(np.median(relative)) if len(relative) else 0.0,
    )


@dataclass(frozen=True)
class _Score:
    right: int
    found: int
    true: int

    @classmethod
    def of(cls, found: Sequence[Detections], truth: Sequence[Float32], threshold: float) -> _Score:
        shown = [each.above(threshold) for each in found]
        rights = [pair(s.xyxy_px, t).sum() for s, t in zip(shown, truth, strict=True)]
        return cls(int(sum(rights)), sum(map(len, shown)), sum(map(len, truth)))

    # Nothing found where there is nothing to find is faultless; every other 0/0 is a failure.

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else float(self.true == 0)

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else float(self.found == 0)

    @property
    def f1(self) -> float:
        both = self.found + self.true
        return 2 * self.right / both if both else 1.0


def _precision_of(
    name: str, found: Sequence[Detections], truth: Sequence[LabelledImage]
) -> AveragePrecision:
    boxes = [image.xyxy_px[[b.label == name for b in image.boxes]] for image in truth]
    return average_precision([each.where(_is_of(each, name)) for each in found], boxes)


def _is_of(found: Detections, name: str) -> Boolean:
    return np.isin(found.labels, [i for i, known in enumerate(found.classes) if known == name])


def _by_group(
    found: Sequence[Detections], truth: Sequence[Float32], groups: Sequence[str]
) -> dict[str, AveragePrecision]:
    members = {name: [i for i, g in enumerate(groups) if g == name] for name in groups}
    return {
        name: average_precision([found[i] for i in rows], [truth[i] for i in rows])
        for name, rows in members.items()
    }


def _f1_by_score(scores: Float32, right: Boolean, true: int) -> tuple[Float32, Float32]:
    """Return the distinct scores, descending, and the F1 of the boxes from each score up."""
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    f1 = 2 * hits[last] / (last + 1 + true)
    return scores[last], f1.astype(np.float32)
