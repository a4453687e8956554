"""One trial: a short training under one treatment, judged on images as they are and shifted."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contrast.shifts import AS_IS, SHIFTS, shifted
from benchmarks.contrast.treatments import as_treated, groups_for, halo
from benchmarks.real_images import any_cell, real_images, spread
from model.boxes import CELL, Detections
from model.config import DetectorConfig, TrainConfig
from model.judging.counting import counting_threshold
from model.judging.evaluation import evaluate
from model.judging.pairing import Pairs
from model.keeping.version_folder import EXPORTED
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.looking.loaded import LoadedVersion
from model.rcnn.anchors import resolve
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups

MILD = "mild"
#: ``medium`` is the default but for its zoom and blur; ``strong`` is what variation can do at most.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    MILD: {"zoom": 0, "blur": 0, "tone": 0.15, "invert": 0.0, "shade": 0.0, "noise": 0.0},
    "medium": {"zoom": 0, "blur": 0, "tone": 0.3, "invert": 0.0, "shade": 0.2, "noise": 0.03},
    "strong": {"zoom": 0, "blur": 0, "tone": 0.5, "invert": 0.25, "shade": 0.4, "noise": 0.05},
}


@dataclass(frozen=True)
class Trial:
    """One training, by what distinguishes it from the others."""

    data: str
    treatment: str
    augmentation: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}-{self.treatment}-{self.augmentation}-{self.seed}"


@dataclass(frozen=True)
class Budget:
    """What each trial may use.

    Parameters
    ----------
    teach, judge
        Images.
    start
        Weights of a starter that has not seen the set; None: from nothing.
    detector
        Its configuration.
    """

    teach: int
    judge: int
    iterations: int
    crop_px: int
    start: Path | None
    detector: DetectorConfig

    def to_json(self) -> dict[str, Any]:
        """Return what two trials must have in common to be compared."""
        return {**vars(self), "start": str(self.start or ""), "detector": self.detector.to_json()}


def carry_out(trial: Trial, budget: Budget) -> tuple[dict[str, Any], dict[str, Pairs]]:
    """Train and judge; return figures by shift, and the pairs that they were made of."""
    data = real_images(trial.data)
    teach = any_cell(spread(data.rest, budget.teach))
    test = any_cell(spread(data.test, budget.judge))
    groups = groups_for(trial.treatment, teach)
    with as_treated(trial.treatment):
        loaded = _learn(trial, budget, DatasetSnapshot(teach, (CELL,)), groups)
        threshold = counting_threshold(_find(loaded, teach, AS_IS), teach)
        found = {shift: _find(loaded, test, shift) for shift in SHIFTS}
    reports = {shift: evaluate(f, test, (CELL,), threshold) for shift, f in found.items()}
    truth = [image.xyxy_px for image in test]
    figures = {
        **vars(trial),
        **budget.to_json(),
        "groups": list(groups.names),
        "assigned": [found.prepared.group for found in loaded.find([i.read() for i in test])],
        "halo": halo(test, groups),
        "ap50": {shift: report.any_class.ap50 for shift, report in reports.items()},
        "count_error": {shift: report.count.error for shift, report in reports.items()},
    }
    return figures, {shift: Pairs.of(f, truth) for shift, f in found.items()}


def _learn(
    trial: Trial, budget: Budget, snapshot: DatasetSnapshot, groups: ContrastGroups
) -> LoadedVersion:
    from model.rcnn.detector import load_detector
    from model.rcnn.export import export
    from model.rcnn.weights import InitialWeights
    from model.training.train import train

    training = replace(
        TrainConfig(iterations=budget.iterations, crop_px=budget.crop_px, seed=trial.seed),
        **AUGMENTATIONS[trial.augmentation],
    )
    detector = resolve(budget.detector, snapshot)
    start = InitialWeights(budget.start, (CELL,)) if budget.start else None
    with tempfile.TemporaryDirectory() as folder:
        # Alone: a second process would not know of what ``as_treated`` changes in this one.
        done = train(
            snapshot,
            groups,
            detector,
            training,
            workdir=Path(folder),
            start=start,
            device="cpu",
            processes=1,
        )
        learned = load_detector(done.weights, detector, (CELL,), "cpu")
        quick = export(learned, Path(folder, EXPORTED), [])
    return LoadedVersion(ModelVersion("trial", "trained", (CELL,), 0.0, detector), groups, quick)


def _find(loaded: LoadedVersion, images: Sequence[LabelledImage], shift: str) -> list[Detections]:
    return [loaded.find([shifted(i.read(), shift)])[0].detections for i in images]


def save_pairs(pairs: dict[str, Pairs], path: Path) -> None:
    arrays = {
        f"{shift}/{name}": getattr(own, name)
        for shift, own in pairs.items()
        for name in ("scores", "right", "image", "cells")
    }
    np.savez_compressed(path, **arrays)


def load_pairs(path: Path, shift: str) -> Pairs:
    with np.load(path) as stored:
        return Pairs(*(stored[f"{shift}/{name}"] for name in ("scores", "right", "image", "cells")))
