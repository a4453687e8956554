"""What the exported engine saves: `python -m benchmarks.engines`.

One detector in PyTorch (eager, inference_mode) and as its exported file, image by image in turn
within one process, one thread each; CPU seconds, the ratio being the median over the images. It is
trained first, for seconds: with fresh weights nothing is ever left out, and no figure would hold.
Images are those of CYTOLOOP_DATA, training and judging by the sides of the manifests, else
generated fields.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.generated import labelled_field
from benchmarks.real_images import real_images, spread
from benchmarks.sides import SETS
from model.config import CONTRASTS, Backbone, DetectorConfig, TrainConfig
from model.generated.fields import EASY, HARD
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.rcnn.anchors import MAPS, resolve
from model.rcnn.detecting import Detector
from model.rcnn.detector import TorchDetector, load_detector
from model.rcnn.engine import OnnxDetector
from model.rcnn.export import export, unpaired
from model.training.train import train
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared, prepare, rescaled

#: Today's default, and others that are to be held against it.
BACKBONES = [DetectorConfig().backbone, "mbv2_64", "r18_p34_64", "mbs8_64"]
NONE = ContrastGroups.none()
#: What stands for the sets where there are none.
GENERATED = "generated"


def generated(folder: Path, teach: int, judge: int) -> tuple[tuple[LabelledImage, ...], ...]:
    """Return images to learn from and images to measure on."""
    images = tuple(
        labelled_field(folder, seed, (480, 640), (20, 60, 150)[seed % 3], (EASY, HARD)[seed % 2])
        for seed in range(teach + judge)
    )
    return images[:teach], images[teach:]


def learned(
    config: DetectorConfig, images: Sequence[LabelledImage], iterations: int, folder: Path
) -> TorchDetector:
    """Return a detector after a short training."""
    classes = tuple(sorted({box.label for image in images for box in image.boxes}))
    snapshot = DatasetSnapshot(tuple(replace(i, side="train") for i in images), classes)
    resolved = resolve(config, snapshot)
    training = TrainConfig(iterations=iterations, crop_px=224, contrast=CONTRASTS["none"])
    weights = train(snapshot, NONE, resolved, training, workdir=folder, device="cpu").weights
    return load_detector(weights, resolved, classes, "cpu")


def seconds(detector: Detector, image: Prepared) -> float:
    """Return the CPU seconds of one image, the lesser of two."""
    taken = []
    for _ in range(2):
        started = time.process_time()
        detector.detect([image])
        taken.append(time.process_time() - started)
    return min(taken)


def compare(eager: TorchDetector, exported: OnnxDetector, images: Sequence[Prepared]) -> str:
    """Measure both on each image and say what came of it."""
    boxes = alone = 0
    pairs = []
    for image in images:
        (one,), (other,) = eager.detect([image]), exported.detect([image])
        boxes += len(one) + len(other)
        alone += unpaired(one, other)
        pairs.append((seconds(eager, image), seconds(exported, image)))
    taken = np.array(pairs)
    ours, theirs = np.median(taken[:, 1]) * 1e3, np.median(taken[:, 0]) * 1e3
    ratio = np.median(taken[:, 1] / taken[:, 0])
    return (
        f"eager {theirs:7.1f} ms   exported {ours:7.1f} ms   ratio {ratio:.2f}"
        f"   boxes without a partner {alone} of {boxes}"
    )


def measure(
    name: str,
    backbone: Backbone,
    teach: Sequence[LabelledImage],
    judge: Sequence[LabelledImage],
    iterations: int,
) -> None:
    """Print both engines' times at the working scale of these images, and at scale 1."""
    with tempfile.TemporaryDirectory(prefix="cytoloop-engines-") as folder:
        eager = learned(DetectorConfig(backbone), teach, iterations, Path(folder))
        graph = Path(folder) / "model.onnx"
        export(eager, graph, [])
        exported = OnnxDetector(graph, eager.config, eager.classes, threads=1)
        eager = eager.folded()
    for scale in dict.fromkeys((eager.config.scale, 1.0)):
        images = [rescaled(prepare(image.read(), NONE), scale) for image in judge]
        high, wide = images[0].pixels.shape
        found = compare(eager, exported, images)
        print(f"{name:<10}{backbone:<13} {wide}×{high}, {len(judge)} images   {found}", flush=True)


def main() -> None:
    """Measure each backbone on each set of images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=MAPS)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=(*SETS, GENERATED))
    parser.add_argument("--teach", type=int, default=12, help="images to learn from")
    parser.add_argument("--judge", type=int, default=8, help="images to measure on")
    parser.add_argument("--iterations", type=int, default=80)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"CPU seconds an image, one thread, {platform.machine()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory(prefix="cytoloop-engines-") as folder:
        for name in options.sets if os.environ.get("CYTOLOOP_DATA") else [GENERATED]:
            if name == GENERATED:
                teach, judge = generated(Path(folder), options.teach, options.judge)
            else:
                real = real_images(name)
                teach, judge = spread(real.rest, options.teach), spread(real.test, options.judge)
            for backbone in options.backbones:
                measure(name, backbone, teach, judge, options.iterations)


if __name__ == "__main__":
    main()
