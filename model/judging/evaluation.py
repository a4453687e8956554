"""What a version is worth on labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.boxes import Detections
from model.errors import NothingToLearn
from model.judging.calibration import Calibration, likely, reliability
from model.judging.counting import count_report
from model.judging.evidence import Evidence
from model.judging.pairing import Pairs, any_class
from model.judging.policy import Policy
from model.judging.precision import IOUS, average_precision, mean_precision, thesis_precision
from model.judging.resampling import (
    count_error,
    draw_weights,
    interval,
    precision_curves,
    resampled_ap,
    resampled_mean_ap,
)
from model.judging.strata import DENSITIES, FEWEST_IMAGES, by_stratum, density_of
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from model.progress import Advance, ignore_advance, tiles_of
from model.reports import (
    AveragePrecision,
    Counts,
    EvaluationReport,
    Intervals,
    ReliabilityBin,
)
from preprocessing.arrays import Boolean


def evaluate_version(
    loaded: LoadedVersion,
    images: Sequence[LabelledImage],
    classes: Sequence[str],
    default_class: str = "",
    calibration: Calibration | None = None,
    advance: Advance = ignore_advance,
) -> EvaluationReport:
    """Report on a version as it serves; see :func:`judge_version`."""
    return judge_version(loaded, images, classes, default_class, calibration, advance).report


def judge_version(
    loaded: LoadedVersion,
    images: Sequence[LabelledImage],
    classes: Sequence[str],
    default_class: str = "",
    calibration: Calibration | None = None,
    advance: Advance = ignore_advance,
) -> Evidence:
    """Judge a version as it serves: every image through the one path of `LoadedVersion.find`.

    Parameters
    ----------
    default_class
        What to call the boxes of a version that knows no classes, or others than these, as serving
        does; the first class when empty.
    calibration
        As :func:`judge` has it.
    """
    name = default_class or next(iter(classes), "")
    found, groups = find_in(loaded, images, name, advance)
    found = [_called(each, classes, name) for each in found]
    judged = judge(found, images, classes, loaded.version.threshold, groups, calibration)
    return replace(judged, version=loaded.version.id)


def _called(found: Detections, classes: Sequence[str], default_class: str) -> Detections:
    names = (name if name in classes else default_class for name in found.classes)
    return replace(found, classes=tuple(names)) if classes else found


def find_in(
    loaded: LoadedVersion,
    images: Sequence[LabelledImage],
    default_class: str = "",
    advance: Advance = ignore_advance,
) -> tuple[list[Detections], list[str]]:
    """Return what a version finds in each image, as it serves, and each image's contrast group."""
    found, groups = [], []
    # One by one: a padded batch is not quite what serving sees, and a set may not fit in memory.
    for done, image in enumerate(images):
        advance(done / len(images), image.name)
        on_tile = tiles_of(advance, image.name, done, len(images))
        (one,) = loaded.find([image.read()], default_class, on_tile)
        found.append(one.detections)
        groups.append(one.prepared.group)
    return found, groups


def evaluate(
    found: Sequence[Detections],
    truth: Sequence[LabelledImage],
    classes: Sequence[str],
    threshold: float,
) -> EvaluationReport:
    """Report on what was found; see :func:`judge`."""
    return judge(found, truth, classes, threshold).report


def judge(
    found: Sequence[Detections],
    truth: Sequence[LabelledImage],
    classes: Sequence[str],
    threshold: float,
    groups: Sequence[str] = (),
    calibration: Calibration | None = None,
) -> Evidence:
    """Judge what was found against the truth.

    Parameters
    ----------
    found, truth
        One each for an image, in the same order and in the same pixels.
    classes
        The classes to judge by name; boxes of other names count only for any class.
    threshold
        Score from which a box counts.
    groups
        The contrast group of each image; empty: no report by group.
    calibration
        Makes probabilities of the scores, whose reliability is reported too; None: none are made.

    Raises
    ------
    NothingToLearn
        When there is no image to judge on.
    """
    if not truth:
        raise NothingToLearn("no image to judge on: correct at least three, one is then held out")
    merged, counts = [any_class(each) for each in found], Policy(threshold)
    every, by_class = _every_pair(found, merged, truth, classes)
    report = replace(
        _report(every, by_class, threshold, groups),
        images=tuple(image.sha256 for image in truth),
        counts_by_class={name: _counts_of(name, merged, truth, threshold) for name in classes},
        caps_reached=tuple(sorted({cap for each in found for cap in counts.caps_reached(each)})),
        calibrated=_calibrated(every[0], groups or [""] * len(truth), calibration),
    )
    return Evidence(report, _with_cells(by_class))


def _every_pair(
    found: Sequence[Detections],
    merged: Sequence[Detections],
    truth: Sequence[LabelledImage],
    classes: Sequence[str],
) -> tuple[list[Pairs], dict[str, list[Pairs]]]:
    """Pair what was found with the true boxes at each of ``IOUS``: of any class, and of each."""
    every = Pairs.at(merged, [image.xyxy_px for image in truth], IOUS)
    return every, {
        name: every if _is_only(name, found, merged, truth) else _paired(name, found, truth)
        for name in classes
    }


def _counts_of(
    name: str, merged: Sequence[Detections], truth: Sequence[LabelledImage], threshold: float
) -> Counts:
    """Return how many boxes of a class count in each image, and how many cells of it are there."""
    return tuple(
        (int((_is_of(each, name) & (each.scores >= threshold)).sum()), _cells_of(name, image))
        for each, image in zip(merged, truth, strict=True)
    )


def _cells_of(name: str, image: LabelledImage) -> int:
    return sum(box.label == name for box in image.boxes)


def _calibrated(
    pairs: Pairs, groups: Sequence[str], calibration: Calibration | None
) -> tuple[ReliabilityBin, ...]:
    if calibration is None:
        return ()
    return reliability(likely(calibration, pairs, groups), pairs.right)


def _with_cells(by_class: Mapping[str, Sequence[Pairs]]) -> tuple[Pairs, ...]:
    """Return the pairs at IoU 0.5 of each class that has cells."""
    return tuple(each[0] for each in by_class.values() if each[0].cells.any())


def _report(
    every: Sequence[Pairs],
    by_class: Mapping[str, Sequence[Pairs]],
    threshold: float,
    groups: Sequence[str],
) -> EvaluationReport:
    """Return the figures that are read off pairs; see :func:`judge`."""
    precisions = {name: average_precision(each) for name, each in by_class.items()}
    pairs = every[0]
    counted = pairs.above(threshold)
    predicted, true = counted.counts.tolist(), pairs.cells.tolist()
    score = Score(int(counted.right.sum()), len(counted.scores), sum(true))
    return EvaluationReport(
        mean=mean_precision(list(precisions.values())),
        any_class=average_precision(every),
        by_class=precisions,
        by_group=by_stratum(groups, every, predicted),
        by_density=by_stratum([density_of(n) for n in true], every, predicted, order=DENSITIES),
        threshold=threshold,
        precision=score.precision,
        recall=score.recall,
        f1=score.f1,
        count=count_report(predicted, true),
        images=(),
        thesis_map=thesis_precision(pairs),
        intervals=_intervals(pairs, counted, _with_cells(by_class)),
        curve=_curve(pairs),
        counts=tuple(zip(predicted, true, strict=True)),
        reliability=reliability(pairs.scores, pairs.right),
    )


def mean_of_classes(
    found: Sequence[Detections], truth: Sequence[LabelledImage], classes: Sequence[str]
) -> AveragePrecision:
    """Return the mean over the classes that have true boxes; None each where none has."""
    return mean_precision([average_precision(_paired(name, found, truth)) for name in classes])


@dataclass(frozen=True)
class Score:
    """How many boxes are right, of those found and of the true ones."""

    right: int
    found: int
    true: int

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


def _paired(name: str, found: Sequence[Detections], truth: Sequence[LabelledImage]) -> list[Pairs]:
    """Pair what was found of one class with its true boxes, at each of ``IOUS``."""
    boxes = [image.xyxy_px[[b.label == name for b in image.boxes]] for image in truth]
    return Pairs.at([each.where(_is_of(each, name)) for each in found], boxes, IOUS)


def _is_only(
    name: str,
    found: Sequence[Detections],
    merged: Sequence[Detections],
    truth: Sequence[LabelledImage],
) -> bool:
    """Say whether all boxes are of one class: its pairs are then those of any class."""
    return (
        all(box.label == name for image in truth for box in image.boxes)
        and all(_is_of(each, name).all() for each in found)
        and all(len(each) == len(left) for each, left in zip(found, merged, strict=True))
    )


def _is_of(found: Detections, name: str) -> Boolean:
    return np.isin(found.labels, [i for i, known in enumerate(found.classes) if known == name])


def _intervals(pairs: Pairs, counted: Pairs, of_classes: Sequence[Pairs]) -> Intervals:
    if len(pairs.cells) < FEWEST_IMAGES:  # resamples of few images hardly differ: too narrow
        return Intervals()
    weights = draw_weights(len(pairs.cells))
    any_class = interval(resampled_ap(pairs, weights))
    is_only = len(of_classes) == 1 and of_classes[0] is pairs
    return Intervals(
        any_class_ap50=any_class,
        mean_ap50=any_class if is_only else interval(resampled_mean_ap(of_classes, weights)),
        count_error=interval(count_error(counted.counts, pairs.cells, weights)),
    )


def _curve(pairs: Pairs) -> tuple[float, ...]:
    if not pairs.cells.any():
        return ()
    curve = precision_curves(pairs, np.ones((1, len(pairs.cells))))[0]
    return tuple(curve.round(4).tolist())
