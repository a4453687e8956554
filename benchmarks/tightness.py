"""How tightly boxes sit, and what makes them: `python -m benchmarks.tightness --out DIR`.

DIR holds what `python -m benchmarks.policy` has trained and found. Each version looks once more at
its coming images, and its boxes are compared in four ways: as NMS leaves them; as the mean of those
about one cell (`vote_iou`); these moved by the median offset of each edge, by class, on the inner
side or else on the images that taught; and moved only for the classes that gain by it on the inner
side, each image there moved by the offsets of the others. A version that refines its boxes does so
before they are moved. It looks once, and boxes count from the threshold that its training would
have chosen for that. Printed for each way: AP, AP75, the shares of its boxes at IoU 0.75 and 0.9,
and seconds a cell.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.actions import Actions, Costs
from backend.replay.correcting import correct, pair
from model.boxes import Detections, iou_matrix
from model.judging.evaluation import evaluate, find_in
from model.judging.policy import Policy
from model.judging.thresholds import threshold_for
from model.keeping.registry import Registry
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.looking.loaded import LoadedVersion
from model.rcnn.detector import load_detector
from model.versions import ModelVersion
from preprocessing.arrays import Float32

IOUS = (0.75, 0.9)
#: Boxes of a class from which on the offset of its edges is known.
FEWEST = 10

Offsets = dict[int, Float32]


def main() -> None:
    """Look at the coming images of every version that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vote", type=float, default=0.5)
    parser.add_argument("--images", type=int, default=40)
    arguments = parser.parse_args()
    figures: dict[str, list[list[float]]] = defaultdict(list)
    for path in sorted(arguments.out.glob("*/*.json"), key=lambda p: (p.parent.name, int(p.stem))):
        kept = json.loads(path.read_text("utf-8"))
        found = ways(kept, Registry(path.parent / "registry"), arguments)
        for way, values in found.items():
            figures[way].append(values)
            print(f"{path.parent.name:12} {path.stem:3} {way:8}", *_written(values), flush=True)
    for way, lines in figures.items():
        print(f"{'mean':16} {way:8}", *_written(np.mean(lines, axis=0).tolist()))


def ways(
    kept: dict[str, Any], registry: Registry, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    version = ModelVersion.from_json(kept["version"])
    parts = {
        part: [LabelledImage.from_json(each["image"]) for each in seen]
        for part, seen in kept["found"].items()
    }
    coming = parts["coming"][: arguments.images]
    plain, voting = (_loaded(version, registry, vote) for vote in (0.0, arguments.vote))
    # The version's own threshold was chosen as it serves: by several looks, with other scores.
    snapshot = DatasetSnapshot((*parts["train"], *parts["inner"]), version.classes)
    unmoved, threshold = (threshold_for(loaded, snapshot) for loaded in (plain, voting))
    known, inner = parts["inner"] or parts["train"], parts["inner"]
    offsets = edge_offsets(find_in(voting, known)[0], known, threshold)
    helpful = gaining(find_in(voting, inner)[0], inner, threshold)
    voted = find_in(voting, coming)[0]
    boxes = {
        "voted": voted,
        "offset": [moved(each, offsets) for each in voted],
        "gaining": [moved(each, helpful) for each in voted],
    }
    as_found = judged(find_in(plain, coming)[0], coming, version.classes, unmoved)
    return {"as found": as_found} | {
        way: judged(found, coming, version.classes, threshold) for way, found in boxes.items()
    }


def _loaded(version: ModelVersion, registry: Registry, vote_iou: float) -> LoadedVersion:
    assert version.detector is not None
    config = replace(version.detector.looking_once, vote_iou=vote_iou)
    detector = load_detector(registry.weights(version.id), config, version.classes, "cpu")
    groups = registry.load(version.id, "cpu").groups
    return LoadedVersion(replace(version, detector=config), groups, detector)


def edge_offsets(
    found: Sequence[Detections], images: Sequence[LabelledImage], threshold: float
) -> Offsets:
    """Return the median offset of each edge from the truth, by class, in sides of the box."""
    off: dict[int, list[Float32]] = defaultdict(list)
    for each, image in zip(found, images, strict=True):
        shown = Policy(threshold).shown(each)
        for row, cell in pair(shown.xyxy_px, image.xyxy_px, 0.5).items():
            edges = shown.xyxy_px[row]
            off[int(shown.labels[row])].append(
                (image.xyxy_px[cell] - edges) / _sides(edges[None])[0]
            )
    return {c: np.median(rows, axis=0) for c, rows in off.items() if len(rows) >= FEWEST}


def gaining(
    found: Sequence[Detections], images: Sequence[LabelledImage], threshold: float
) -> Offsets:
    """Return the offsets of the classes of which more boxes then need no moving.

    Each image is tried with the offsets of the others.
    """
    more: Counter[int] = Counter()
    for place, (each, image) in enumerate(zip(found, images, strict=True)):
        others = [i for i in range(len(images)) if i != place]
        offsets = edge_offsets([found[i] for i in others], [images[i] for i in others], threshold)
        more.update(tight_by_class(moved(each, offsets), image, threshold))
        more.subtract(tight_by_class(each, image, threshold))
    every = edge_offsets(found, images, threshold)
    return {label: offset for label, offset in every.items() if more[label] > 0}


def tight_by_class(found: Detections, image: LabelledImage, threshold: float) -> Counter[int]:
    """Return how many boxes of each class sit so tightly that they need no moving."""
    shown = Policy(threshold).shown(found)
    tight = pair(shown.xyxy_px, image.xyxy_px, IOUS[0])
    return Counter(shown.labels[list(tight)].tolist())


def moved(found: Detections, offsets: Offsets) -> Detections:
    still = np.zeros(4, np.float32)
    rows = [offsets.get(int(label), still) for label in found.labels]
    by = np.array(rows, np.float32).reshape(-1, 4)
    return found.moved_to(found.xyxy_px + by * _sides(found.xyxy_px))


def _sides(edges: Float32) -> Float32:
    sides = edges[:, 2:] - edges[:, :2]
    return np.concatenate([sides, sides], axis=1)


def judged(
    found: Sequence[Detections],
    images: Sequence[LabelledImage],
    classes: Sequence[str],
    threshold: float,
) -> list[float]:
    """Return AP, AP75, the share of the shown boxes at each of ``IOUS``, and seconds a cell."""
    report = evaluate(found, images, classes, threshold)
    actions, tight, number = Actions(), np.zeros(len(IOUS)), 0
    for each, image in zip(found, images, strict=True):
        shown = Policy(threshold).shown(each)
        actions += correct(shown.boxes(), image.boxes).actions
        overlaps = iou_matrix(shown.xyxy_px, image.xyxy_px)
        pairs = pair(shown.xyxy_px, image.xyxy_px, 0.5).items()
        tight += [sum(overlaps[row, cell] >= iou for row, cell in pairs) for iou in IOUS]
        number += len(shown)
    seconds = Costs().seconds(actions, len(images)) / report.count.true
    ap = report.any_class
    return [ap.ap or 0.0, ap.ap75 or 0.0, *(tight / max(1, number)).tolist(), seconds]


def _written(values: Sequence[float]) -> list[str]:
    names = ("AP", "AP75", *(f"IoU≥{iou}" for iou in IOUS), "s/cell")
    return [f"{name} {value:.3f}" for name, value in zip(names, values, strict=True)]


if __name__ == "__main__":
    main()
