"""What it gains, and costs, to look four times and to ask a second opinion.

`python -m benchmarks.turning --starters 'STARTERS/no_{set}'` judges starters that have not seen a
set as `benchmarks.starter.judging` does, `--trained 'OUT/versions/{set}'` the versions that
`benchmarks.accuracy` has left: as they are upright, in four quarter turns, and, of starters, with
the classical detector's opinion. Printed: AP50 and AP75 of any class, count error at the threshold
that a starter's way of looking chose on the set's teaching side, or at the trained version's own,
and CPU seconds an image. Of several trained versions the newest is judged.

The set's test side judges. With `--teaching` images of its teaching side do: of these none that a
version has learned from or was chosen by, and none that chooses a threshold. Where there are too
few for both, half of them choose and half judge.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from backend.columns import aligned
from benchmarks.beginning import ask_for_versions, versions
from benchmarks.real_images import RealImages, real_images, spread
from model.config import DetectorConfig
from model.judging.counting import counting_threshold
from model.judging.evaluation import evaluate, find_in
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from model.versions import ModelVersion

COLUMNS = ("set", "version", "looks", "AP50", "AP75", "count error", "CPU s")


@dataclass(frozen=True)
class Way:
    """A way of looking."""

    name: str
    turned: bool
    seconded: bool = False

    def of(self, loaded: LoadedVersion) -> LoadedVersion:
        """Return a version that looks so."""
        config = loaded.version.detector
        assert config is not None
        turned_px = max(config.turned_px, DetectorConfig().turned_px) if self.turned else 0
        looking = replace(config, turned_px=turned_px, second_opinion=self.seconded)
        return replace(loaded, version=replace(loaded.version, detector=looking))


WAYS = Way("upright", turned=False), Way("in four turns", turned=True)
SECONDED = (
    Way("upright, second opinion", turned=False, seconded=True),
    Way("in four turns, second opinion", turned=True, seconded=True),
)


def choosing_and_judging(
    version: ModelVersion, data: RealImages, number: int, teaching: bool
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    """Return the images that choose a starter's threshold, and those that judge a version.

    No image is among both, and a version has seen none of them. A trained version has a threshold
    of its own: nothing chooses for it.

    Parameters
    ----------
    number
        Of each, where there are so many.
    teaching
        Whether images of the teaching side judge.
    """
    seen, chooses = set(version.lineage), version.kind == "starter"
    new = tuple(image for image in data.rest if image.sha256 not in seen)
    if not teaching:
        return spread(new, number) if chooses else (), spread(data.test, number)
    if not chooses:
        return (), spread(new, number)
    both = spread(new, 2 * number)
    return both[: len(both) // 2], both[len(both) // 2 :]


def rows_of(
    name: str, loaded: LoadedVersion, ways: Sequence[Way], options: argparse.Namespace
) -> Iterator[tuple[str, ...]]:
    """Judge a version by each way of looking."""
    data = real_images(name)
    unseen, test = choosing_and_judging(loaded.version, data, options.judge, options.teaching)
    if not test:
        raise SystemExit(
            f"{loaded.version.id} has seen all teaching images of {name}: leave out --teaching, or"
            " judge one that was trained with some --apart (benchmarks.accuracy)"
        )
    for way in ways:
        looking = way.of(loaded)
        least = counting_threshold(find_in(looking, unseen)[0], unseen) if unseen else None
        began = time.process_time()
        found = find_in(looking, test)[0]
        seconds = (time.process_time() - began) / len(test)
        threshold = loaded.version.threshold if least is None else least
        report = evaluate(found, test, data.classes, threshold)
        figures = report.any_class.ap50, report.any_class.ap75, report.count.error
        yield name, loaded.version.kind, way.name, *(f"{f:.3f}" for f in (*figures, seconds))


def main() -> None:
    """Judge what is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_versions(parser)
    parser.add_argument("--judge", type=int, default=24, help="images of each set")
    parser.add_argument("--teaching", action="store_true", help="judge by unseen teaching images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # onnxruntime's, for each version that is loaded
    rows = []
    for name, registry, version in versions(options):
        ways = WAYS if version.kind == "trained" else (*WAYS, *SECONDED)
        for row in rows_of(name, registry.load(version.id, "cpu"), ways, options):
            rows.append(row)
            print(*row, flush=True)
    print("\n".join(aligned([COLUMNS, *rows])))


if __name__ == "__main__":
    main()
