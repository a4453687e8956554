"""Does it count where cells are dense? `python -m benchmarks.dense` trains, counts and times.

The default detector learns from generated fields as dense as 600 cells on 1280×1024, half of the
cells laid against another, and counts on fields that it has not seen, at 600 cells and at the
densest that fits. Its boxes before NMS go through hard NMS at several IoUs and through soft-NMS
(Gaussian; Bodla et al., "Soft-NMS", ICCV 2017); each has its own threshold, chosen on fields apart
from those that are counted. Then, with CYTOLOOP_DATA: how many true boxes of the real sets hard
NMS would take away if every box were perfect, which is the most that any softer one could win.

What ships comes first, as it serves: the starter, which has seen other generated fields, and the
default as a run trains it from the starter, its boxes refined.

Generated fields show what overlap does, not how well real cells are found. `--iterations` and
`--fields` say how long, `--proposals` what the RPN may hand on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.generated import labelled_field
from benchmarks.real_images import real_images
from benchmarks.sides import SETS
from model.boxes import CELL, Detections, iou_matrix
from model.config import DetectorConfig, TrainConfig
from model.generated.fields import HIGH, LOW, MEDIUM
from model.judging.counting import counting_threshold
from model.judging.evaluation import evaluate, find_in
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.learning.candidate import make_candidate
from model.looking.loaded import LoadedVersion
from model.rcnn.anchors import resolve
from model.versions import ModelVersion
from preprocessing.arrays import Float32, Float64
from preprocessing.fitting import fit_images

SHAPE, CELLS, DENSEST = (1024, 1280), 600, 1000
TOUCHING = 0.5
STYLES = tuple(replace(style, touching=TOUCHING) for style in (LOW, MEDIUM, HIGH))
HARD = (0.3, 0.45, 0.6, 0.7)
SIGMAS = (0.1, 0.3, 0.5)
#: Score below which boxes are dropped by soft-NMS, as in the paper.
LEAST = 0.02
AS_IT_SERVES = "as it serves"

Way = Callable[[Detections], Detections]


def main() -> None:
    """Train, count, and print what each way of NMS is worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=250)
    parser.add_argument("--fields", type=int, default=6, help="counted at each density")
    parser.add_argument("--proposals", type=int, default=DetectorConfig.rpn_post_nms)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Quarters of the size at a quarter of the cells: the density is what counts.
        taught = fields(folder, 0, 12, (512, 640), CELLS // 4)
        version = learn(taught, options.iterations, options.proposals, folder)
        choose = fields(folder, 100, 3, SHAPE, CELLS)
        judging = [fields(folder, 200 + n, options.fields, SHAPE, n) for n in (CELLS, DENSEST)]
        for serving in shipped(taught, choose, folder):
            print(f"{serving.version.id}, as it serves")
            for images in judging:
                judge(serving, images, AS_FOUND, {AS_IT_SERVES: serving.version.threshold})
        print("the default, not refined, its boxes before NMS")
        thresholds = choose_thresholds(version, choose)
        for images in judging:
            judge(version, images, WAYS, thresholds)
    print_ceiling()


def fields(
    folder: Path, seed: int, count: int, shape: tuple[int, int], cells: int
) -> list[LabelledImage]:
    """Generate labelled images, the styles in turn."""
    return [
        labelled_field(folder, seed + i, shape, cells, STYLES[i % len(STYLES)])
        for i in range(count)
    ]


def learn(
    images: Sequence[LabelledImage], iterations: int, proposals: int, folder: Path
) -> LoadedVersion:
    """Train the default detector; return it with its NMS taken out."""
    from model.rcnn.detector import load_detector
    from model.training.train import train

    snapshot = DatasetSnapshot(tuple(images), (CELL,))
    training = TrainConfig(iterations=iterations, imagenet="never")
    # Not refined: the ways of NMS are compared on boxes before that.
    config = resolve(DetectorConfig(refined=False), snapshot)
    groups = fit_images((image.read() for image in images), training.contrast)
    start = time.perf_counter()
    done = train(snapshot, groups, config, training, workdir=folder / "work", device="cpu")
    sizes = ", ".join(f"{size:g}" for size in config.anchor_sizes)
    print(f"{iterations} steps in {time.perf_counter() - start:.0f} s, anchors {sizes}", flush=True)
    every = replace(
        config,
        rpn_post_nms=proposals,
        nms_iou=1.0,
        vote_iou=0.0,
        detections_per_image=2 * proposals,
    )
    version = ModelVersion("dense", "trained", (CELL,), 0.0, every)
    return LoadedVersion(version, groups, load_detector(done.weights, every, (CELL,), "cpu"))


def shipped(
    taught: Sequence[LabelledImage], choose: Sequence[LabelledImage], folder: Path
) -> Iterator[LoadedVersion]:
    """Yield the starter, and what a run makes of the images: trained, refined, exported."""
    registry = Registry(folder / "registry", STARTER_ID)
    yield registry.load(STARTER_ID, "cpu")
    inner = [replace(image, side="inner") for image in choose]
    snapshot = DatasetSnapshot((*taught, *inner), (CELL,))
    start = time.perf_counter()
    trained = make_candidate(
        snapshot, registry, workdir=folder / "run", device="cpu", with_report=False
    )
    print(f"trained and exported in {time.perf_counter() - start:.0f} s", flush=True)
    yield registry.load(trained.id, "cpu")


def seen_by(version: LoadedVersion, images: Sequence[LabelledImage]) -> list[Detections]:
    """Return the boxes of each image, those that NMS would take away with them."""
    start = time.perf_counter()
    found, _ = find_in(version, images)
    seconds = (time.perf_counter() - start) / len(images)
    caps = sorted({cap for each in found for cap in each.caps_reached})
    boxes = np.mean([len(each) for each in found])
    print(f"  {seconds:.1f} s an image, {boxes:.0f} boxes, caps reached: {caps or 'none'}")
    return found


def choose_thresholds(version: LoadedVersion, images: Sequence[LabelledImage]) -> dict[str, float]:
    """Return for each way the threshold from which its boxes count."""
    found = seen_by(version, images)
    return {
        name: counting_threshold([way(each) for each in found], images)
        for name, way in WAYS.items()
    }


def judge(
    version: LoadedVersion,
    images: Sequence[LabelledImage],
    ways: Mapping[str, Way],
    thresholds: Mapping[str, float],
) -> None:
    """Print a row for each way: AP50, F1, count error and bias, time of the way alone."""
    cells = [len(image.boxes) for image in images]
    print(f"{len(images)} fields of {min(cells)} to {max(cells)} cells, {overlapping(images)}")
    found = seen_by(version, images)
    print("  NMS             threshold  AP50    F1     count error  bias     ms an image")
    for name, way in ways.items():
        start = time.perf_counter()
        left = [way(each) for each in found]
        ms = 1000 * (time.perf_counter() - start) / len(images)
        report = evaluate(left, images, (CELL,), thresholds[name])
        count = report.count
        print(
            f"  {name:<14}  {thresholds[name]:9.2f}  {report.any_class.ap50:.3f}  {report.f1:.3f}"
            f"  {count.error:10.2%}  {count.bias:+8.2%}  {ms:6.0f}",
            flush=True,
        )


def hard(iou: float) -> Way:
    """NMS as the detector does it: what overlaps a better box by more than this goes."""

    def way(found: Detections) -> Detections:
        over = iou_matrix(found.xyxy_px, found.xyxy_px) > iou
        keep = np.ones(len(found), bool)
        for row in range(len(found)):
            if keep[row]:
                keep[row + 1 :] &= ~over[row, row + 1 :]
        return found.where(keep)

    return way


def soft(sigma: float) -> Way:
    """Gaussian soft-NMS: what overlaps a better box scores exp(-IoU² / sigma) of its score."""

    def way(found: Detections) -> Detections:
        factor = np.exp(-(iou_matrix(found.xyxy_px, found.xyxy_px) ** 2) / sigma)
        scores, left, order = found.scores.copy(), np.ones(len(found), bool), []
        while left.any():
            best = int(np.where(left, scores, -1).argmax())
            if scores[best] < LEAST:
                break
            order.append(best)
            left[best] = False
            scores[left] *= factor[best, left]
        chosen = np.array(order, np.int64)
        kept = replace(found, xyxy_px=found.xyxy_px[chosen], scores=scores[chosen])
        return replace(kept, labels=found.labels[chosen])

    return way


AS_FOUND: dict[str, Way] = {AS_IT_SERVES: lambda found: found}
WAYS: dict[str, Way] = {
    **{f"hard {iou}": hard(iou) for iou in HARD},
    **{f"soft {sigma}": soft(sigma) for sigma in SIGMAS},
}


def overlapping(images: Sequence[LabelledImage]) -> str:
    """Say what share of the true boxes overlaps another true one by more than each IoU of NMS."""
    most = np.concatenate([_most_overlap(image.xyxy_px) for image in images])
    shares = ", ".join(f"{(most > iou).mean():.2%} by more than {iou}" for iou in HARD)
    return f"true boxes over another: {shares}"


def _most_overlap(boxes: Float32) -> Float64:
    overlap = iou_matrix(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    return np.asarray(overlap.max(axis=1, initial=0))


def print_ceiling() -> None:
    """Print what hard NMS takes of the real sets' true boxes, were they found perfectly."""
    if not os.environ.get("CYTOLOOP_DATA"):
        print("CYTOLOOP_DATA is not set: no real boxes")
        return
    for name in SETS:
        images = real_images(name).rest
        print(f"{name}, {len(images)} teaching images, {overlapping(images)}")


if __name__ == "__main__":
    main()
