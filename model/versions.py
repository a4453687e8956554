"""A model version and what is known of it: frozen, JSON in and out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from model.config import DetectorConfig, TrainConfig

Kind = Literal["classical", "starter", "trained"]


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
class EvaluationReport:
    """What a version is worth on a set of images.

    Parameters
    ----------
    mean
        Mean over the classes that have truth boxes.
    any_class
        All truth one class, all boxes one class, NMS across classes.
    by_class, by_group
        By the name of the class; by the name of the contrast group (any class).
    threshold
        Score from which a box is shown and counted.
    precision, recall, f1
        At ``threshold``, any class, IoU 0.5; in [0, 1].
    images
        sha256 of each evaluated image, in order.
    caps_reached
        Names of the limits that were reached in at least one image.
    """

    mean: AveragePrecision
    any_class: AveragePrecision
    by_class: dict[str, AveragePrecision]
    by_group: dict[str, AveragePrecision]
    threshold: float
    precision: float
    recall: float
    f1: float
    count: CountReport
    images: tuple[str, ...]
    caps_reached: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> EvaluationReport:
        precision = {
            name: {k: AveragePrecision(**v) for k, v in values[name].items()}
            for name in ("by_class", "by_group")
        }
        return cls(
            **{
                **values,
                **precision,
                "mean": AveragePrecision(**values["mean"]),
                "any_class": AveragePrecision(**values["any_class"]),
                "count": CountReport(**values["count"]),
                "images": tuple(values["images"]),
                "caps_reached": tuple(values["caps_reached"]),
            }
        )


@dataclass(frozen=True)
class GateDecision:
    """Whether a candidate became champion, and why, in words a lab manager can read."""

    promoted: bool
    reasons: tuple[str, ...]
    candidate: EvaluationReport | None = None
    champion: EvaluationReport | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> GateDecision:
        reports = {
            name: EvaluationReport.from_json(values[name]) if values[name] else None
            for name in ("candidate", "champion")
        }
        return cls(values["promoted"], tuple(values["reasons"]), **reports)


@dataclass(frozen=True)
class ModelVersion:
    """One version: weights, contrast groups and configuration, loaded and promoted together.

    Parameters
    ----------
    id
        Unique in its registry, such as ``"trained-20261124-161502-3fa9"``.
    project
        The project it was trained for; None for a version of use to all.
    classes
        Names of the classes, in label order. A version that was never taught the project's
        classes (kinds classical and starter) has none and finds cells of any kind.
    threshold
        Score from which a box is shown and counted.
    lineage
        sha256 of every image that this version or one it started from learned from or was stopped,
        calibrated or chosen by.
    """

    id: str
    kind: Kind
    classes: tuple[str, ...]
    threshold: float
    detector: DetectorConfig | None = None
    training: TrainConfig | None = None
    project: str | None = None
    parent: str | None = None
    snapshot: str | None = None
    lineage: tuple[str, ...] = ()
    report: EvaluationReport | None = None
    decision: GateDecision | None = None
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelVersion:
        def maybe(name: str, build: Any) -> Any:
            return build(values[name]) if values[name] is not None else None

        return cls(
            **{
                **values,
                "classes": tuple(values["classes"]),
                "lineage": tuple(values["lineage"]),
                "notes": tuple(values["notes"]),
                "detector": maybe("detector", DetectorConfig.from_json),
                "training": maybe("training", TrainConfig.from_json),
                "report": maybe("report", EvaluationReport.from_json),
                "decision": maybe("decision", GateDecision.from_json),
            }
        )
