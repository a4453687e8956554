from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.policy import (
    BEST_F1,
    COUNTED,
    HALF,
    KNOWING,
    Seen,
    policies_of,
    work_of,
)
from model.boxes import Box, Detections
from model.judging.evaluation import evaluate
from model.labels.examples import LabelledImage
from preprocessing.arrays import Float32


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

    ways = policies_of(parts)
    best = f1(ways[BEST_F1].counted_from)
    assert best >= max(f1(threshold) for threshold in np.linspace(0, 1, 101))
    assert best > f1(ways[COUNTED].counted_from)


def test_none_of_the_thresholds_that_others_chose_is_better_than_the_best_afterwards() -> None:
    coming = [seen(np.full(20, 0.505), np.full(20, 0.495))]
    ways = policies_of({"train": [], "inner": [by_chance(1)], "coming": coming})
    seconds = {name: work_of(policy, coming).seconds for name, policy in ways.items()}
    assert seconds[KNOWING] <= min(seconds[name] for name in (HALF, BEST_F1, COUNTED))
