"""How often the gate is right, on simulated versions: `python -m benchmarks.gate`.

Both versions see the same images, each harder or easier for both; their recall is known. Printed:
in how many comparisons the candidate is promoted, by the number of images and by how much recall
it has more than the champion.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.tables import head_of, row_of
from model.judging.counting import count_report
from model.judging.evaluation import Score
from model.judging.evidence import Evidence
from model.judging.gate import decide
from model.judging.pairing import Pairs
from model.judging.resampling import RESAMPLES
from model.reports import AveragePrecision, EvaluationReport

IMAGES = (1, 4, 9, 10, 20, 40)
AHEAD = (-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2)
CHAMPION_RECALL = 0.75
CELLS = 15
#: Standard deviation of what an image adds to the recall of both.
DIFFICULTY = 0.1
WRONG_PER_CELL = 0.1
COMPARISONS = 300
THRESHOLD = 0.5

#: Score of each box, and whether it is right.
Boxes = list[tuple[float, bool]]
#: For each image its number of cells, and what was found.
Seen = list[tuple[int, Boxes]]


class Field:
    """Images on which versions of any recall can be compared."""

    def __init__(self, rng: np.random.Generator, images: int) -> None:
        self._rng = rng
        self._images = [
            (int(cells), float(ease))
            for cells, ease in zip(
                rng.poisson(CELLS, images) + 1, rng.normal(0, DIFFICULTY, images), strict=True
            )
        ]

    def seen(self, recall: float) -> Seen:
        """Return what a version of this recall finds, by chance."""
        return [(cells, self._found(cells, recall + ease)) for cells, ease in self._images]

    def _found(self, cells: int, recall: float) -> Boxes:
        right = self._rng.binomial(cells, min(max(recall, 0.0), 1.0))
        wrong = self._rng.poisson(WRONG_PER_CELL * cells)
        scores = np.concatenate([self._rng.beta(6, 2, right), self._rng.beta(3, 3, wrong)])
        return list(zip(scores.tolist(), [True] * right + [False] * wrong, strict=True))


def evidence_of(seen: Seen, version: str = "") -> Evidence:
    """Return what the gate would be given: AP and curve, which it does not look at, are absent."""
    boxes = [(s, r, i) for i, (_, found) in enumerate(seen) for s, r in sorted(found, reverse=True)]
    boxes.sort(key=lambda box: -box[0])
    columns = np.array(boxes, np.float64).reshape(-1, 3).T
    cells = np.array([cells for cells, _ in seen], np.int64)
    pairs = Pairs(columns[0].astype(np.float32), columns[1] > 0, columns[2].astype(np.int64), cells)
    return Evidence(_report(pairs), (pairs,) if cells.any() else (), version)


def _report(pairs: Pairs) -> EvaluationReport:
    shown, unknown = pairs.above(THRESHOLD), AveragePrecision(None, None, None)
    predicted, true = shown.counts.tolist(), pairs.cells.tolist()
    score = Score(int(shown.right.sum()), len(shown.scores), sum(true))
    return EvaluationReport(
        mean=unknown,
        any_class=unknown,
        by_class={},
        by_group={},
        threshold=THRESHOLD,
        precision=score.precision,
        recall=score.recall,
        f1=score.f1,
        count=count_report(predicted, true),
        images=tuple(map(str, range(len(true)))),
        counts=tuple(zip(predicted, true, strict=True)),
    )


def promoted_share(
    images: int, ahead: float, comparisons: int, resamples: int = RESAMPLES
) -> float:
    """Return the share of the comparisons in which the candidate is promoted."""
    rng = np.random.default_rng(images)
    passed = 0
    for _ in range(comparisons):
        field = Field(rng, images)
        candidate = evidence_of(field.seen(CHAMPION_RECALL + ahead))
        passed += decide(
            candidate, evidence_of(field.seen(CHAMPION_RECALL)), resamples=resamples
        ).promoted
    return passed / comparisons


def main() -> None:
    """Print the shares, a row for each number of images, and the seconds of one decision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--comparisons", type=int, default=COMPARISONS, help="for each share")
    asked = parser.parse_args()
    print(head_of(["images", *(f"{ahead:+.2f}" for ahead in AHEAD)]))
    for number in asked.images:
        shares = (promoted_share(number, a, asked.comparisons) for a in AHEAD)
        print(row_of([str(number), *(f"{share:.0%}" for share in shares)]), flush=True)
    rng = np.random.default_rng(0)
    field = Field(rng, 100)
    candidate, champion = (evidence_of(field.seen(recall)) for recall in (0.8, 0.75))
    began = time.process_time()
    decide(candidate, champion)
    print(f"one decision on 100 images: {time.process_time() - began:.2f} s of CPU")


if __name__ == "__main__":
    main()
