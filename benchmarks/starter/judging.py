"""What a starter is worth on a set: it finds the size of the cells by itself, image by image.

`python -m benchmarks.starter.judging` says the same of the classical detector, and with `--without
'WITHOUT/no_{set}'` of starters that have not seen a set.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.real_images import any_cell, real_images, spread
from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR
from model.boxes import CELL
from model.classical.detector import ClassicalDetector, classical_version
from model.judging.counting import counting_threshold
from model.judging.evaluation import evaluate, find_in
from model.keeping.starter import STARTER_ID
from model.keeping.version_folder import EXPORTED, WEIGHTS
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from model.rcnn.detector import load_detector
from model.rcnn.export import export
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups


def judge(weights: Path, name: str, images: int) -> dict[str, Any]:
    """Return how well a starter finds the cells of a set, at sizes that it finds by itself.

    The threshold comes from the set's teaching side, the figures from its test side.
    """
    detector = load_detector(weights, DETECTOR, (CELL,), "cpu")
    with tempfile.TemporaryDirectory() as folder:
        quick = export(detector, Path(folder, EXPORTED), [])
        version = ModelVersion(STARTER_ID, "starter", (), 0.5, DETECTOR)
        return judged(LoadedVersion(version, ContrastGroups.none(), quick), name, images)


def judged(loaded: LoadedVersion, name: str, images: int) -> dict[str, Any]:
    """Return the same of any version that was not taught this set."""
    rest, test = (any_cell(spread(side, images)) for side in _sides(name))
    threshold = counting_threshold(find_in(loaded, rest, CELL)[0], rest)
    found = find_in(loaded, test, CELL)[0]
    report = evaluate(found, test, (CELL,), threshold)
    return {
        "set": name,
        "images": len(test),
        "threshold": threshold,
        "ap50": report.any_class.ap50,
        "ap75": report.any_class.ap75,
        "count_error": report.count.error,
    }


def _sides(name: str) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    data = real_images(name)
    return data.rest, data.test


def main() -> None:
    """Judge the classical detector, or starters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", type=int, default=24, help="test images of each set")
    parser.add_argument("--without", help="WITHOUT/no_{set}: a starter that has not seen the set")
    options = parser.parse_args()
    classical = LoadedVersion(classical_version(), ContrastGroups.none(), ClassicalDetector())
    for name in SETS:
        if options.without:
            weights = Path(options.without.format(set=name)) / WEIGHTS
            figures = judge(weights, name, options.judge)
        else:
            figures = judged(classical, name, options.judge)
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
