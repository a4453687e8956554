"""How many proposals pay? `python -m benchmarks.proposals --trained 'OUT/versions/{set}'`.

The newest version in each set's registry (`benchmarks.accuracy` makes them) is exported anew with
each number of proposals (`--ways`), and so are, with `--starters 'STARTERS/no_{set}'`, starters
that have not seen a set. They look at the set's test side as they serve, and once at images of
1280×1024 laid with it at scale 1, all ways in turn at each image, on one thread. Printed: mAP50 of
the set's own classes, AP50 and AP75 of any class, count error at the version's own threshold, and
CPU time as a part of the first way's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.backbones.trials import LARGE, mosaic, seen
from benchmarks.beginning import ask_for_versions, versions
from benchmarks.engines import seconds
from benchmarks.real_images import any_cell, real_images, spread
from benchmarks.tables import head_of, row_of
from model.boxes import CELL, Detections
from model.config import DetectorConfig
from model.judging.evaluation import evaluate
from model.keeping.registry import Registry
from model.keeping.version_folder import EXPORTED
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from model.rcnn.detector import load_detector
from model.rcnn.export import export
from model.versions import ModelVersion

HEADS = "set", "version", "proposals", "mAP50", "AP50", "AP75", "count error", "CPU", "CPU, large"


@dataclass(frozen=True)
class Way:
    """How many proposals are looked at; see ``DetectorConfig``."""

    rpn_post_nms: int = DetectorConfig.rpn_post_nms
    rpn_crowded: int = DetectorConfig.rpn_crowded
    proposal_floor: float = DetectorConfig.proposal_floor

    @classmethod
    def read(cls, written: str) -> Way:
        """Read it as its name has it, such as ``1000,4,0.1``."""
        number, crowded, floor = written.split(",")
        return cls(int(number), int(crowded), float(floor))

    @property
    def name(self) -> str:
        return ",".join(f"{value:g}" for value in astuple(self))

    def of(self, loaded: LoadedVersion, weights: Path, folder: Path) -> LoadedVersion:
        """Return a version that looks at so many, exported into a folder."""
        version = loaded.version
        assert version.detector is not None
        config = replace(version.detector, **vars(self))
        learned = load_detector(weights, config, version.classes or (CELL,), "cpu")
        engine = export(learned, folder / self.name / EXPORTED, [])
        return replace(loaded, version=replace(version, detector=config), detector=engine)


#: What it was, and what it is today.
WAYS = Way(2000, 1, 0.01), Way()


def rows_of(
    name: str, registry: Registry, version: ModelVersion, options: argparse.Namespace
) -> Iterator[tuple[str, ...]]:
    """Judge a version by each number of proposals."""
    data = real_images(name)
    test = spread(data.test, options.judge)
    classes = version.classes or (CELL,)
    truth = test if version.classes else any_cell(test)
    with tempfile.TemporaryDirectory(prefix="cytoloop-proposals-") as folder:
        loaded, weights = registry.load(version.id, "cpu"), registry.weights(version.id)
        ways = [way.of(loaded, weights, Path(folder)) for way in options.ways]
        found, taken = in_turn(ways, test)
        large = in_turn_at_large(ways, name, options.large)
    for way, each, *cpu_s in zip(options.ways, found, taken, large, strict=True):
        report = evaluate(each, truth, classes, version.threshold)
        ap = report.mean.ap50, report.any_class.ap50, report.any_class.ap75
        parts = [own / first for own, first in zip(cpu_s, (taken[0], large[0]), strict=True)]
        figures = [f"{ap50:.3f}" for ap50 in ap], [f"{part:.2f}" for part in parts]
        yield name, version.kind, way.name, *figures[0], f"{report.count.error:.1%}", *figures[1]


def in_turn(
    ways: Sequence[LoadedVersion], images: Sequence[LabelledImage]
) -> tuple[list[list[Detections]], list[float]]:
    """Return what each way finds in the images, and its CPU seconds."""
    found: list[list[Detections]] = [[] for _ in ways]
    taken = [0.0] * len(ways)
    for image in images:
        raw = image.read()
        for number, way in enumerate(ways):
            began = time.process_time()
            (one,) = way.find([raw])
            taken[number] += time.process_time() - began
            found[number].append(one.detections)
    return found, taken


def in_turn_at_large(ways: Sequence[LoadedVersion], name: str, number: int) -> list[float]:
    """Return the CPU seconds in which each way looks once at so many images of 1280×1024."""
    images = seen(name, 1.0, number)
    laid = [mosaic([*images[i:], *images[:i]], LARGE) for i in range(len(images))]
    taken = [[seconds(way.detector, image) for way in ways] for image in laid]
    return [float(each) for each in np.sum(taken, axis=0)]


def main() -> None:
    """Judge what is named, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_versions(parser)
    parser.add_argument("--judge", type=int, default=1000, help="test images of each set")
    parser.add_argument("--large", type=int, default=4, help="images of 1280×1024 of each set")
    parser.add_argument(
        "--ways",
        nargs="+",
        type=Way.read,
        default=WAYS,
        metavar="WAY",
        help=f"rpn_post_nms,rpn_crowded,proposal_floor; today's: {Way().name}",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # onnxruntime's, for each version that is exported
    print(head_of(HEADS), flush=True)
    for name, registry, version in versions(options):
        for row in rows_of(name, registry, version, options):
            print(row_of(row), flush=True)


if __name__ == "__main__":
    main()
