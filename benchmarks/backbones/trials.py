"""What is measured of a backbone: learning for a time, an image's CPU time, a step's CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models.detection import FasterRCNN

from benchmarks.backbones.references import in_colour, references, torchvision_resnet50
from benchmarks.beginning import newest_trained
from benchmarks.clock import Clock, Pupil
from benchmarks.engines import seconds
from benchmarks.real_images import INNER_SHARE, RealImages, real_images, spread
from model.boxes import CELL
from model.config import CONTRASTS, PRESETS, Backbone, DetectorConfig, TrainConfig
from model.errors import ExportFailed
from model.judging.counting import counting_threshold
from model.judging.evaluation import evaluate, find_in
from model.keeping.registry import Registry
from model.keeping.starter import FOLDER, STARTER_ID
from model.keeping.version_folder import EXPORTED, WEIGHTS, read_version
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.looking.loaded import LoadedVersion
from model.looking.tiling import middle_tile
from model.looking.turning import TurningDetector
from model.rcnn.anchors import cell_sides, resolve
from model.rcnn.detecting import Detector
from model.rcnn.detector import load_detector
from model.rcnn.engine import OnnxDetector
from model.rcnn.export import export
from model.rcnn.scale import scale_for
from model.rcnn.weights import save_weights
from model.training.augment import Variation
from model.training.data import Examples
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared, prepare, rescaled

LARGE = (1024, 1280)
COMPARED_ON = 3
STEPS = 5
MINUTE_S = 60.0


def learn(
    data: str,
    backbone: Backbone,
    seed: int,
    minutes: float,
    teach: int,
    threads: int,
    folder: Path,
) -> dict[str, Any]:
    """Train for so many minutes, export, and judge on the set's test side.

    The minutes are the CPU's of all threads, so that other work takes none of them; on a GPU the
    wall's.
    """
    torch.set_num_threads(threads)
    real = real_images(data)
    rest = spread(real.rest, teach or len(real.rest))
    parts = max(1, len(rest) // INNER_SHARE)
    inner, train = rest[:parts], tuple(replace(i, side="train") for i in rest[parts:])
    snapshot = DatasetSnapshot(train, real.classes)
    detector = resolve(replace(PRESETS["fast"][0], backbone=backbone), snapshot)
    pupil = Pupil.of(detector, TrainConfig(seed=seed), snapshot)
    now = time.perf_counter if torch.cuda.is_available() else time.process_time
    clock = Clock(pupil.training(folder, "auto", f"{minutes}"), minutes * MINUTE_S, now=now)
    clock.run_until(clock.limit_s)
    weights = save_weights(clock.training.module, folder / WEIGHTS)
    engine, note = _exported(pupil, weights)
    version = ModelVersion("backbone", "trained", real.classes, 0.0, detector)
    return {
        "steps": clock.training.iteration,
        "minutes_taken": clock.elapsed_s / MINUTE_S,
        **_judged(LoadedVersion(version, pupil.groups, engine), inner, real),
        "detector": detector.to_json(),
        "weights_bytes": weights.stat().st_size,
        "note": note,
    }


def _judged(
    served: LoadedVersion, inner: Sequence[LabelledImage], real: RealImages
) -> dict[str, Any]:
    threshold = counting_threshold(find_in(served, inner)[0], inner)
    report = evaluate(find_in(served, real.test)[0], real.test, real.classes, threshold)
    return {
        "ap50": report.mean.ap50,
        "any_class": report.any_class.ap50,
        "count_error": report.count.error,
    }


def _exported(pupil: Pupil, weights: Path) -> tuple[Detector, str]:
    """Return the engine that serves on a CPU, and why it is PyTorch where it is."""
    learned = load_detector(weights, pupil.detector, pupil.snapshot.classes)
    images = pupil.snapshot.images[:COMPARED_ON]
    samples = [
        middle_tile(rescaled(prepare(i.read(), pupil.groups), pupil.detector.scale)) for i in images
    ]
    try:
        return export(learned, weights.with_name(EXPORTED), samples), ""
    except ExportFailed as error:
        return learned, f"not exported: {error}"


def image_seconds(
    data: str,
    view: str,
    learned: Sequence[dict[str, Any]],
    judge: int,
    folder: Path,
    trained: Path | None = None,
) -> dict[str, Any]:
    """Return CPU seconds of one thread by detector, image by image, the detectors in turn.

    The shipped starter is always among them, with one look an image.

    Parameters
    ----------
    view
        ``working``: each image at the scale that the detector works at; ``large``: 1280×1024 at
        scale 1, laid with the images.
    learned
        The lines of the trainings whose detectors are to be measured.
    folder
        That holds the folders of the trainings.
    trained
        A registry whose newest trained version is measured as well, with as many looks as it takes.
    """
    torch.set_num_threads(1)
    real = real_images(data)
    detectors = {line["backbone"]: engine_of(line, real.classes, folder) for line in learned}
    detectors[STARTER_ID] = shipped()
    if trained:
        detectors["trained"] = newest(trained)
    scale = working_scale(real) if view == "working" else 1.0
    images = seen(data, scale, judge)
    if view == "large":
        images = [mosaic([*images[i:], *images[:i]], LARGE) for i in range(len(images))]
    detectors |= references(images)
    taken: dict[str, list[float]] = {name: [] for name in detectors}
    for image in images:
        for name, detector in detectors.items():
            taken[name].append(seconds(detector, image))
    return {"scale": scale, "seconds": taken}


def engine_of(line: dict[str, Any], classes: tuple[str, ...], folder: Path) -> Detector:
    """Return what would serve a training on a CPU with one thread: exported, else PyTorch."""
    detector, own = DetectorConfig.from_json(line["detector"]), folder / folder_of(line)
    if line["note"]:
        return load_detector(own / WEIGHTS, detector, classes, "cpu")
    return OnnxDetector(own / EXPORTED, detector, classes, threads=1)


def shipped() -> Detector:
    """Return the shipped starter as it serves on a CPU with one thread."""
    version = read_version(FOLDER)
    assert version.detector is not None
    return OnnxDetector(FOLDER / EXPORTED, version.detector, (CELL,), threads=1)


def newest(kept_in: Path) -> Detector:
    """Return the newest trained version of a registry as it serves on a CPU with one thread."""
    registry = Registry(kept_in)
    version = newest_trained(registry)
    assert version.detector is not None
    file = registry.weights(version.id).with_name(EXPORTED)
    engine = OnnxDetector(file, version.detector, version.classes, threads=1)
    return TurningDetector(engine, version.detector.turned_px)


def working_scale(real: RealImages) -> float:
    """Return the scale at which a detector would be taught a set's cells."""
    images = tuple(replace(image, side="train") for image in real.rest)
    return scale_for(cell_sides(DatasetSnapshot(images, real.classes)), DetectorConfig())


def folder_of(trial: dict[str, Any]) -> str:
    """Return the name of a training's folder."""
    budget = f"{trial['minutes']:g}min-{trial['teach']}-{trial['threads']}"
    return f"{trial['data']}-{trial['backbone']}-{trial['seed']}-{budget}"


def seen(data: str, scale: float, judge: int) -> list[Prepared]:
    """Return images of a set's test side at this scale."""
    images = spread(real_images(data).test, judge)
    return [rescaled(prepare(image.read(), ContrastGroups.none()), scale) for image in images]


def mosaic(images: Sequence[Prepared], shape: tuple[int, int]) -> Prepared:
    """Return an image of this height and width, laid with the images side by side in rows."""
    canvas = np.zeros(shape, np.float32)
    top, number = 0, 0
    while top < shape[0]:
        left, deepest = 0, 0
        while left < shape[1]:
            pixels = images[number % len(images)].pixels[: shape[0] - top, : shape[1] - left]
            high, wide = pixels.shape
            canvas[top : top + high, left : left + wide] = pixels
            left, deepest, number = left + wide, max(deepest, high), number + 1
        top += deepest
    return Prepared(canvas, 1.0, "all", 0.0, (), *shape)


def step_seconds(backbone: Backbone, keep_stem: bool, folder: Path) -> dict[str, Any]:
    """Return the CPU seconds of a fine-tuning step on one image of 640×480, one thread."""
    real = real_images("bccd")
    images = spread(real.rest, STEPS + 1)
    return _seconds_of(_step_of_ours(backbone, keep_stem, images, real.classes, folder))


def step_seconds_of_theirs() -> dict[str, Any]:
    """Return those of torchvision's fasterrcnn_resnet50_fpn, all of it learning.

    It has its own settings but for the size of the image.
    """
    real = real_images("bccd")
    return _seconds_of(_step_of_theirs(spread(real.rest, STEPS + 1), real.classes))


def _seconds_of(step: Callable[[], object]) -> dict[str, Any]:
    torch.set_num_threads(1)
    taken = []
    for _ in range(STEPS + 1):
        began = time.process_time()
        step()
        taken.append(time.process_time() - began)
    return {"seconds": taken[1:]}  # the first makes room for all


def _step_of_ours(
    backbone: Backbone,
    keep_stem: bool,
    images: Sequence[LabelledImage],
    classes: tuple[str, ...],
    folder: Path,
) -> Callable[[], float]:
    snapshot = DatasetSnapshot(tuple(replace(i, side="train") for i in images), classes)
    detector = resolve(DetectorConfig(backbone, scale=1.0), snapshot)
    config = TrainConfig(
        iterations=STEPS + 1,
        batch=1,
        contrast=CONTRASTS["none"],
        keep_stem=keep_stem,
        **asdict(Variation(crop_px=0)),  # the image as it is
    )
    start = FOLDER / WEIGHTS if backbone == DetectorConfig().backbone else None
    run = Pupil.of(detector, config, snapshot).training(folder, "cpu", "step", start)
    for number in range(len(images)):
        run.examples[number]  # reading and preparing an image is done once in a training
    return run.step


def _step_of_theirs(
    images: Sequence[LabelledImage], classes: tuple[str, ...]
) -> Callable[[], None]:
    module: FasterRCNN = torchvision_resnet50(resized=False).train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=TrainConfig().learning_rate)
    read = Examples(images, ContrastGroups.none(), classes, 1.0)
    examples = iter([read[number] for number in range(len(images))])

    def step() -> None:
        example = next(examples)
        ones = torch.ones(len(example.xyxy_px), dtype=torch.int64)
        target = {"boxes": torch.from_numpy(example.xyxy_px), "labels": ones}
        optimiser.zero_grad(set_to_none=True)
        losses = module([in_colour(example.pixels)], [target])
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step
