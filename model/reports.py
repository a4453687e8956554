"""What is known of a version's worth on a set of images: frozen, JSON in and out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: Predicted and true number of cells of each of some images.
Counts = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class AveragePrecision:
    """COCO average precision, each in [0, 1]; NaN-free: None where there is no truth box."""

    ap50: float | None
    ap75: float | None
    ap: float | None


@dataclass(frozen=True)
class CountReport:
    """How well the boxes above the threshold count.

    Parameters
    ----------
    error
        Σ|predicted − true| / Σ true over the images.
    bias
        Σ(predicted − true) / Σ true: negative where cells are missed.
    median_error
        Median over the images with cells of |predicted − true| / true.
    """

    true: int
    predicted: int
    error: float
    bias: float
    median_error: float


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of a figure over bootstrap resamples of the images."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """How far the figures would move on other images of the same kind.

    Parameters
    ----------
    any_class_ap50, mean_ap50
        Of AP50 for any class and of its mean over the classes; None where there is no truth box.
    count_error
        Of Σ|predicted − true| / Σ true.

    All are None of fewer than ten images: of so few, resamples differ too little.
    """

    any_class_ap50: Interval | None = None
    mean_ap50: Interval | None = None
    count_error: Interval | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Intervals:
        return cls(**{name: Interval(**v) if v else None for name, v in values.items()})


@dataclass(frozen=True)
class Stratum:
    """The figures over a part of the images, such as those of one contrast group.

    Parameters
    ----------
    images
        How many there are.
    any_class, count
        None where the images are too few to say anything.
    """

    images: int
    any_class: AveragePrecision | None = None
    count: CountReport | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Stratum:
        precision, count = values["any_class"], values["count"]
        return cls(
            values["images"],
            AveragePrecision(**precision) if precision else None,
            CountReport(**count) if count else None,
        )


@dataclass(frozen=True)
class ReliabilityBin:
    """Boxes of much the same score: what the scores say of them, and what is so.

    Parameters
    ----------
    score
        Mean of the scores.
    right
        Share of the boxes that are right.
    """

    score: float
    right: float
    boxes: int


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return how far scores and shares of right boxes are apart, a mean over the boxes."""
    boxes = sum(one.boxes for one in bins)
    return sum(one.boxes * abs(one.score - one.right) for one in bins) / max(1, boxes)


@dataclass(frozen=True)
class EvaluationReport:
    """What a version is worth on a set of images. ``docs/evaluation.md`` defines each figure.

    Parameters
    ----------
    mean
        Mean over the classes that have truth boxes.
    any_class
        All truth one class, all boxes one class, NMS across classes.
    by_class
        By the name of the class.
    threshold
        Score, in [0, 1], from which a box counts.
    precision, recall, f1
        At ``threshold``, any class, IoU 0.5; in [0, 1].
    images
        sha256 of each evaluated image, in order.
    by_group, by_density
        By the name of the contrast group, and by how many true cells an image has (any class).
    thesis_map
        The thesis' own mean average precision, in [0, 1]; None where no image has a cell.
    intervals
        Bootstrap intervals over the images.
    curve
        Precision at recall 0, 0.01, … 1 for any class at IoU 0.5; empty where there is no cell.
    counts
        Predicted and true number of cells of each image, in order.
    counts_by_class
        The same by the name of the class; of boxes of several classes on one cell the best counts.
    caps_reached
        Names of the limits that may have cut a box that would count, in at least one image.
    reliability
        Boxes of any class by score: what share of them is right at IoU 0.5.
    calibrated
        The same by the probability that a project's policy makes of the score; empty where none
        was asked for.
    """

    mean: AveragePrecision
    any_class: AveragePrecision
    by_class: dict[str, AveragePrecision]
    by_group: dict[str, Stratum]
    threshold: float
    precision: float
    recall: float
    f1: float
    count: CountReport
    images: tuple[str, ...]
    caps_reached: tuple[str, ...] = ()
    by_density: dict[str, Stratum] = field(default_factory=dict)
    thesis_map: float | None = None
    intervals: Intervals = field(default_factory=Intervals)
    curve: tuple[float, ...] = ()
    counts: Counts = ()
    counts_by_class: dict[str, Counts] = field(default_factory=dict)
    reliability: tuple[ReliabilityBin, ...] = ()
    calibrated: tuple[ReliabilityBin, ...] = ()

    @property
    def calibration_error(self) -> float:
        """How far scores and shares of right boxes are apart, a mean over the boxes."""
        return calibration_error(self.reliability)

    def counts_without(self, seen: Collection[str]) -> dict[str, Counts]:
        """Return the counts by class of all images but some, given by their sha256."""
        kept = [row for row, sha256 in enumerate(self.images) if sha256 not in seen]
        return {
            name: tuple(counts[row] for row in kept)
            for name, counts in self.counts_by_class.items()
        }

    @property
    def calibrated_error(self) -> float | None:
        """The same of the probabilities; None where there are none."""
        return calibration_error(self.calibrated) if self.calibrated else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> EvaluationReport:
        def each(name: str, build: Any) -> dict[str, Any]:
            # A figure that an earlier release did not know is not there.
            return {key: build(value) for key, value in values.get(name, {}).items()}

        return cls(
            **{
                **values,
                "mean": AveragePrecision(**values["mean"]),
                "any_class": AveragePrecision(**values["any_class"]),
                "by_class": each("by_class", lambda v: AveragePrecision(**v)),
                "by_group": each("by_group", Stratum.from_json),
                "by_density": each("by_density", Stratum.from_json),
                "count": CountReport(**values["count"]),
                "images": tuple(values["images"]),
                "caps_reached": tuple(values["caps_reached"]),
                "intervals": Intervals.from_json(values["intervals"]),
                "curve": tuple(values["curve"]),
                "counts": _counts(values["counts"]),
                "counts_by_class": each("counts_by_class", _counts),
                "reliability": tuple(ReliabilityBin(**b) for b in values["reliability"]),
                "calibrated": tuple(ReliabilityBin(**b) for b in values.get("calibrated", ())),
            }
        )


def _counts(values: Sequence[Sequence[int]]) -> Counts:
    return tuple((predicted, true) for predicted, true in values)
