"""From which score do boxes count? `python -m benchmarks.thresholds --trained OUT/versions/{set}`.

The versions that `benchmarks.accuracy` has trained on all images of a set choose their threshold
anew: by some of the inner images, drawn by chance again and again, alone, and held at what images
that taught say (`model.judging.thresholds`). Printed: the count error that each has on the test
side, and F1, as means over the draws; and the least error that any one threshold has there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.accuracy import Plan, snapshot_of
from benchmarks.beginning import newest_trained
from benchmarks.real_images import real_images
from benchmarks.sides import SETS
from benchmarks.tables import head_of, row_of
from model.judging.counting import count_report, counting_threshold, pairs_of
from model.judging.evaluation import Score, find_in
from model.judging.pairing import Pairs
from model.judging.thresholds import threshold_for
from model.keeping.registry import Registry
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.looking.loaded import Found, LoadedVersion
from model.progress import OnTile, ignore_tile
from preprocessing.images import ImageRecord

HEADS = "set", "inner images", "alone: error", "F1", "held: error", "F1", "the best afterwards"
DRAWS, SEED = 40, 20261129
#: Thresholds of which the best afterwards is one.
TRIED = np.linspace(0.02, 0.98, 97)


@dataclass(frozen=True)
class Remembering(LoadedVersion):
    """A version that looks at each image once."""

    known: dict[str, Found] = field(default_factory=dict)

    def find(
        self,
        images: Sequence[ImageRecord],
        default_class: str = "",
        on_tile: OnTile = ignore_tile,
    ) -> list[Found]:
        for image in images:
            if image.sha256 not in self.known:
                (self.known[image.sha256],) = super().find([image], default_class, on_tile)
        return [self.known[image.sha256] for image in images]


def rows_of(name: str, kept: Path, numbers: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Choose by so many inner images, and by all, and judge."""
    registry = Registry(kept)
    version = newest_trained(registry)
    snapshot = snapshot_of(real_images(name), Plan(name, None, 0, 0, 0, 0, "default", 1))
    if set(version.lineage) != {i.sha256 for i in snapshot.of_side("train", "inner")}:
        raise SystemExit(f"{version.id} did not learn from all images of {name}: see --help")
    loaded = registry.load(version.id, "cpu")
    looking = Remembering(loaded.version, loaded.groups, loaded.detector)
    test = snapshot.of_side("held-out")
    judging = pairs_of(find_in(looking, test)[0], test)
    best = min(judged(judging, each)[0] for each in TRIED)
    inner = snapshot.of_side("inner")
    for number in sorted({*(n for n in numbers if n < len(inner)), len(inner)}):
        chosen = [chosen_by(each, snapshot, looking) for each in drawn(inner, number)]
        alone, held = np.mean([[judged(judging, each) for each in both] for both in chosen], axis=0)
        figures = (f"{alone[0]:.1%}", f"{alone[1]:.3f}", f"{held[0]:.1%}", f"{held[1]:.3f}")
        yield name, str(number), *figures, f"{best:.1%}"


def drawn(inner: Sequence[LabelledImage], number: int) -> list[list[LabelledImage]]:
    """Return draws of so many images; the one that there is where all are drawn."""
    rng = np.random.default_rng(SEED)
    draws = DRAWS if number < len(inner) else 1
    return [[inner[i] for i in rng.permutation(len(inner))[:number]] for _ in range(draws)]


def chosen_by(
    inner: Sequence[LabelledImage], snapshot: DatasetSnapshot, looking: LoadedVersion
) -> tuple[float, float]:
    """Return the threshold that inner images choose alone, and as it is held."""
    both = DatasetSnapshot((*snapshot.of_side("train"), *inner), snapshot.classes)
    return counting_threshold(find_in(looking, inner)[0], inner), threshold_for(looking, both)


def judged(pairs: Pairs, threshold: float) -> tuple[float, float]:
    """Return the count error, and F1, of the boxes from a threshold on."""
    counted = pairs.above(threshold)
    score = Score(int(counted.right.sum()), len(counted.scores), int(pairs.cells.sum()))
    return count_report(counted.counts.tolist(), pairs.cells.tolist()).error, score.f1


def main() -> None:
    """Print a line for each set and number of inner images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trained", required=True, help="OUT/versions/{set}, of all images")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--inner", type=int, nargs="+", default=[4, 8, 16], help="how many choose")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(head_of(HEADS), flush=True)
    for name in options.sets:
        for row in rows_of(name, Path(options.trained.format(set=name)), options.inner):
            print(row_of(row), flush=True)


if __name__ == "__main__":
    main()
