"""A model version and what is known of it: frozen, JSON in and out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from model.config import DetectorConfig, TrainConfig
from model.errors import SizeNotAsked
from model.reports import EvaluationReport

Kind = Literal["classical", "starter", "trained"]


@dataclass(frozen=True)
class JudgedImage:
    """What is known of an image by which a candidate was judged.

    Parameters
    ----------
    sha256, page
        The image.
    stratum
        Its stratum of contrast; empty where none were set yet.
    began_as
        Id of the version whose boxes were corrected into the truth; empty: it was drawn from none.
    is_beside_snapshot
        Whether the training's snapshot lacks it: it was corrected since that froze, or waited for
        its side.
    is_seen
        Whether both versions have learned from it, for want of images that neither has seen.
    """

    sha256: str
    page: int = 0
    stratum: str = ""
    began_as: str = ""
    is_beside_snapshot: bool = False
    is_seen: bool = False


@dataclass(frozen=True)
class GateDecision:
    """Whether a candidate became champion, and why, in words a lab manager can read.

    Parameters
    ----------
    candidate, champion
        Their reports on the same images.
    images
        What is known of these, in the same order.
    """

    promoted: bool
    reasons: tuple[str, ...]
    candidate: EvaluationReport | None = None
    champion: EvaluationReport | None = None
    images: tuple[JudgedImage, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> GateDecision:
        reports = {
            name: EvaluationReport.from_json(values[name]) if values[name] else None
            for name in ("candidate", "champion")
        }
        images = tuple(JudgedImage(**image) for image in values["images"])
        return cls(values["promoted"], tuple(values["reasons"]), **reports, images=images)


@dataclass(frozen=True)
class Course:
    """How a training went: what its recipe leaves open.

    Parameters
    ----------
    steps
        Optimiser steps that were taken; those lost to a loss that became NaN do not count.
    stem_kept
        Whether the first layers stayed as they were in what it began with.
    """

    steps: int
    stem_kept: bool


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
        Score, in [0, 1], from which a box counts.
    detector
        What it is built of, scale and anchors found; None: it is no Faster R-CNN.
    training
        The recipe of its training, as it was asked for; None: it had none that is known.
    parent
        Id of the version whose weights it began with; None: it began from nothing.
    snapshot
        sha256 of the ``DatasetSnapshot`` it learned from; None: it learned from none.
    lineage
        sha256 of every image that this version or one it started from learned from or was stopped,
        calibrated or chosen by.
    report
        What it is worth on the images that judged it; None: none did.
    decision
        The gate's; None: it was not asked.
    created_at
        When it was made: ISO 8601, UTC, to the second.
    notes
        What whoever uses it should know, in sentences.
    cell_sides_px
        The smallest and the largest side, in raw pixels, that is typical of an image that it
        learned from (``model.looking.magnification``); None: not known.
    course
        How its training went; None: it had none that is known.
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
    cell_sides_px: tuple[float, float] | None = None
    course: Course | None = None

    @property
    def finds_scale(self) -> bool:
        """Whether it has to find, or to be told, how large the cells of an image are."""
        return self.detector is not None and not self.detector.scale

    def is_by(self, detector: DetectorConfig, training: TrainConfig) -> bool:
        """Return whether it was trained by a recipe, whose open sizes the training had to find."""
        if self.detector is None or self.training != training:
            return False
        found = {name: getattr(self.detector, name) for name in ("scale", "anchor_sizes")}
        still_open = {name: size for name, size in found.items() if not getattr(detector, name)}
        return self.detector == replace(detector, **still_open)

    def require_finds_scale(self) -> None:
        """See to it that telling the diameter of the cells changes what is found.

        Raises
        ------
        SizeNotAsked
            It does not.
        """
        if not self.finds_scale:
            raise SizeNotAsked(
                f"{self.id} needs no cell diameter: it learned the size from corrected boxes, or"
                " finds cells of any. Leave the cell diameter out."
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelVersion:
        def maybe(name: str, build: Any) -> Any:
            return build(values[name]) if values[name] is not None else None

        return cls(
            **{
                **values,
                "threshold": float(values["threshold"]),
                **{name: _listed(name, values) for name in ("classes", "lineage", "notes")},
                "detector": maybe("detector", DetectorConfig.from_json),
                "training": maybe("training", TrainConfig.from_json),
                "report": maybe("report", EvaluationReport.from_json),
                "decision": maybe("decision", GateDecision.from_json),
                "cell_sides_px": maybe("cell_sides_px", tuple),
                "course": maybe("course", lambda course: Course(**course)),
            }
        )


def _listed(name: str, values: dict[str, Any]) -> tuple[str, ...]:
    if isinstance(values[name], str):
        raise TypeError(f"{name} is a text, not a list of them")
    return tuple(values[name])
