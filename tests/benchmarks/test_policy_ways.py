from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import policy
from benchmarks.policy import (
    BEST_F1,
    COUNTED,
    HALF,
    KNOWING,
    Seen,
    is_of,
    learned,
    policies_of,
    work_of,
)
from model.boxes import Box, Detections
from model.config import PRESETS
from model.judging.counting import counting_threshold
from model.judging.evaluation import evaluate
from model.keeping.registry import Registry
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.versions import ModelVersion
from preprocessing.arrays import Float32
from preprocessing.groups import ContrastGroups


def seen(right: Float32, false: Float32) -> Seen:
    """Return an image with a cell for each right box, and false boxes beside them."""
    scores = np.concatenate([right, false]).astype(np.float32)
    places = np.arange(len(scores)) * 20.0
    rows = np.stack([places, 0 * places, places + 10, 0 * places + 10], axis=1)
    cells = tuple(Box(*row, "Cell") for row in rows[: len(right)].tolist())
    order = np.argsort(-scores)
    labels = np.zeros(len(scores), np.int64)
    found = Detections(rows[order].astype(np.float32), scores[order], labels, ("Cell",))
    return Seen(LabelledImage(Path("unread.png"), "", cells, "inner"), found, "low")


def by_chance(seed: int) -> Seen:
    rng = np.random.default_rng(seed)
    return seen(rng.beta(3, 2, 40), rng.beta(2, 4, 40))


def test_no_threshold_has_a_better_f1_than_the_one_that_is_called_so() -> None:
    parts = {"train": [], "inner": [by_chance(1), by_chance(2)], "coming": [by_chance(3)]}
    found, images = [s.found for s in parts["inner"]], [s.image for s in parts["inner"]]

    def f1(threshold: float) -> float:
        return evaluate(found, images, (), threshold).f1

    ways = policies_of(parts, counting_threshold(found, images))
    best = f1(ways[BEST_F1].counted_from)
    assert best >= max(f1(threshold) for threshold in np.linspace(0, 1, 101))
    assert best > f1(ways[COUNTED].counted_from)


def test_none_of_the_thresholds_that_others_chose_is_better_than_the_best_afterwards() -> None:
    coming = [seen(np.full(20, 0.505), np.full(20, 0.495))]
    ways = policies_of({"train": [], "inner": [by_chance(1)], "coming": coming}, 0.4)
    seconds = {name: work_of(policy, coming).seconds for name, policy in ways.items()}
    assert seconds[KNOWING] <= min(seconds[name] for name in (HALF, BEST_F1, COUNTED))


def test_boxes_count_from_the_threshold_that_the_training_chose() -> None:
    parts = {"train": [by_chance(2)], "inner": [by_chance(1)], "coming": [by_chance(3)]}
    assert policies_of(parts, 0.37)[COUNTED].counted_from == 0.37


def test_a_version_is_taken_again_where_it_began_with_the_same_by_the_same_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, training = PRESETS["default"]
    found, snapshot = replace(detector, scale=1.0, anchor_sizes=(9.0,)), DatasetSnapshot((), ())
    kept = ModelVersion("trained-1", "trained", (), 0.4, found, training, parent="starter-a")
    kept = replace(kept, snapshot=snapshot.sha256)
    shorter = replace(kept, id="trained-2", training=replace(training, iterations=7))
    (tmp_path / "weights").touch()
    registry = Registry(tmp_path / "registry")
    for version in (kept, shorter):
        registry.add(version, ContrastGroups.none(), tmp_path / "weights")
    trained = replace(kept, id="trained-3", parent="starter-b")
    monkeypatch.setattr(policy, "make_candidate", lambda *_, **__: trained)
    one, other = (ModelVersion(id, "starter", (), 0.4) for id in ("starter-a", "starter-b"))
    assert learned(registry, snapshot, one, tmp_path) == kept
    assert learned(registry, snapshot, other, tmp_path) == trained
    assert learned(registry, DatasetSnapshot((), ("Cell",)), one, tmp_path) == trained


def test_what_another_version_found_is_not_taken_for_a_versions_own(tmp_path: Path) -> None:
    version, path = ModelVersion("trained-1", "trained", (), 0.4), tmp_path / "5.json"
    assert not is_of(path, version)
    path.write_text(json.dumps({"version": version.to_json()}), "utf-8")
    assert is_of(path, version)
    assert not is_of(path, replace(version, id="trained-2"))
