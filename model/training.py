"""How a detector learns: AdamW, warm-up and cosine, for minutes, resumable at every checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from model.augment import vary
from model.config import DetectorConfig, TrainConfig
from model.data import Example, Examples
from model.detector import build, on_device, pick_device
from model.errors import NothingToLearn, TrainingDiverged
from model.examples import DatasetSnapshot
from model.progress import OnProgress, Progress, ignore
from model.weights import load_checkpoint, save_checkpoint, save_weights, start_from
from preprocessing.groups import ContrastGroups

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.pt"
_REPORT_EVERY = 10
_CHECKPOINT_EVERY = 50


def iterations_for(images: int) -> int:
    """Return how many steps pay for this many training images.

    About 1 minute on 2 cores for 4 images of blood cells at 300×225 pixels, 2 for 20, 9 for 180
    and more.
    """
    return min(120 + 6 * images, 1200)


def train(
    snapshot: DatasetSnapshot,
    groups: ContrastGroups,
    detector: DetectorConfig,
    training: TrainConfig,
    start: Path | None,
    start_classes: Sequence[str],
    workdir: Path,
    device: str = "auto",
    on_progress: OnProgress = ignore,
) -> Path:
    """Train a detector on the train side of a snapshot.

    A training that was killed goes on from its last checkpoint in ``workdir`` when it is called
    again with the same snapshot and configuration, step for step as if nothing had happened (on
    one CPU thread; more threads add in another order). When the loss becomes NaN or infinite, it
    ends with the weights of the last checkpoint. How many threads it uses is the caller's choice
    (``torch.set_num_threads``); the caller's random state is left alone.

    Parameters
    ----------
    detector
        Resolved: scale and anchor sizes given.
    start, start_classes
        Weights to begin with, and the classes they know; None: from nothing, or from ImageNet
        weights as ``training.imagenet`` says.
    workdir
        A folder of this training alone; made when absent.

    Returns
    -------
    The file of the weights, in ``workdir``.

    Raises
    ------
    NothingToLearn
        When no training image has a box of the snapshot's classes.
    TrainingDiverged
        When the loss became NaN or infinite before the first checkpoint.
    """
    images = snapshot.of_side("train")
    if not any(box.label in snapshot.classes for image in images for box in image.boxes):
        raise NothingToLearn(
            f"none of the {len(images)} training images has a box of {', '.join(snapshot.classes)}:"
            " correct at least one image with cells, then train again"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    examples = Examples(images, groups, snapshot.classes, detector.scale)
    plan = replace(training, iterations=training.iterations or iterations_for(len(images)))
    on = pick_device(device)
    with torch.random.fork_rng(devices=[on] if on.type == "cuda" else []):
        torch.manual_seed(plan.seed)
        module = _begin(snapshot, detector, plan, start, start_classes)
        fingerprint = _fingerprint(snapshot, groups, detector, plan, start)
        run = Training(module, plan, examples, on, workdir, fingerprint)
        run.resume()
        run.go_on(on_progress)
    return save_weights(run.module, workdir / WEIGHTS)


def _begin(
    snapshot: DatasetSnapshot,
    detector: DetectorConfig,
    training: TrainConfig,
    start: Path | None,
    start_classes: Sequence[str],
) -> FasterRCNN:
    imagenet = "never" if start else training.imagenet
    module = build(detector, snapshot.classes, training, imagenet)
    if start:
        taken = start_from(module, start, start_classes, snapshot.classes)
        log.info("starting from %s: %d tensors taken over", start, taken)
    return module


def _fingerprint(
    snapshot: DatasetSnapshot,
    groups: ContrastGroups,
    detector: DetectorConfig,
    training: TrainConfig,
    start: Path | None,
) -> str:
    begun = hashlib.sha256(start.read_bytes()).hexdigest() if start else None
    content = [snapshot.sha256, groups.sha256, detector.to_json(), training.to_json(), begun]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass
class Training:
    """A training under way.

    All chance is drawn anew from the seed and the iteration, so that a checkpoint needs to hold
    weights, optimiser and iteration alone.
    """

    module: FasterRCNN
    config: TrainConfig
    examples: Examples
    device: torch.device
    workdir: Path
    fingerprint: str
    iteration: int = 0

    def __post_init__(self) -> None:
        on_device(self.module, self.device).train()
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.config.optimiser]
        self.optimiser = kind(
            self.module.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )

    @property
    def checkpoint(self) -> Path:
        return self.workdir / CHECKPOINT

    def resume(self) -> None:
        """Take up the checkpoint in the folder, if it is this training's."""
        state: Any = load_checkpoint(self.checkpoint)
        if state is None or state["fingerprint"] != self.fingerprint:
            self.checkpoint.unlink(missing_ok=True)
            return
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.iteration = state["iteration"]
        log.info("going on at iteration %d of %d", self.iteration, self.config.iterations)

    def keep(self) -> None:
        """Write a checkpoint."""
        state = {
            "fingerprint": self.fingerprint,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "iteration": self.iteration,
        }
        save_checkpoint(self.checkpoint, state)

    def go_on(self, on_progress: OnProgress) -> None:
        """Take the steps that are left.

        Raises
        ------
        TrainingDiverged
            When the loss became NaN or infinite before the first checkpoint.
        """
        losses: list[float] = []
        while self.iteration < self.config.iterations:
            loss = self.step()
            if not math.isfinite(loss):
                self._fall_back(on_progress)
                return
            losses = [*losses[1 - _REPORT_EVERY :], loss]
            done = self.iteration == self.config.iterations
            if done or self.iteration % _CHECKPOINT_EVERY == 0:
                self.keep()
            if done or self.iteration % _REPORT_EVERY == 0:
                on_progress(self._progress(float(np.mean(losses))))

    def step(self) -> float:
        """Learn from one batch and return its loss; one that is not finite changes nothing."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.iteration)
        images, targets = self._batch()
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate(self.iteration, self.config)
        self.optimiser.zero_grad(set_to_none=True)
        loss = torch.stack(list(self.module(images, targets).values())).sum()
        if not torch.isfinite(loss):
            return math.nan
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(
            self.module.parameters(), self.config.gradient_clip or math.inf
        )
        if not torch.isfinite(norm):
            return math.nan
        self.optimiser.step()
        self.iteration += 1
        return float(loss.detach())

    def _batch(self) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        rng = np.random.default_rng((self.config.seed, self.iteration))
        chosen = [self.examples[i] for i in self._indices()]
        varied = vary(chosen, rng, self.config.crop_px, self.config.tone, self.config.invert)
        targets = [
            {
                "boxes": torch.from_numpy(np.ascontiguousarray(e.xyxy_px)).to(self.device),
                "labels": torch.from_numpy(e.labels).to(self.device),
            }
            for e in varied
        ]
        return [self._tensor(e) for e in varied], targets

    def _tensor(self, example: Example) -> Tensor:
        pixels = np.ascontiguousarray(example.pixels, np.float32)
        return torch.from_numpy(pixels)[None].to(self.device)

    def _indices(self) -> list[int]:
        """Walk through one shuffled epoch after another."""
        count, first = len(self.examples), self.iteration * self.config.batch
        return [
            int(np.random.default_rng((self.config.seed, n // count)).permutation(count)[n % count])
            for n in range(first, first + self.config.batch)
        ]

    def _fall_back(self, on_progress: OnProgress) -> None:
        state: Any = load_checkpoint(self.checkpoint)
        if state is None:
            raise TrainingDiverged(
                f"the loss became NaN or infinite at iteration {self.iteration}, before the first"
                f" checkpoint: try a learning rate below {self.config.learning_rate:g}"
            )
        self.module.load_state_dict(state["module"])
        kept = state["iteration"]
        message = (
            f"the loss became NaN or infinite at iteration {self.iteration};"
            f" the weights of iteration {kept} were kept"
        )
        log.warning(message)
        on_progress(Progress("training", 1.0, kept, self.config.iterations, message=message))

    def _progress(self, loss: float) -> Progress:
        total = self.config.iterations
        return Progress("training", self.iteration / total, self.iteration, total, loss)


def rate(iteration: int, config: TrainConfig) -> float:
    """Return the share of the learning rate at an iteration: linear warm-up, then half a cosine."""
    warmup = min(config.warmup, config.iterations // 4)
    if iteration < warmup:
        return (iteration + 1) / (warmup + 1)
    done = (iteration - warmup) / max(1, config.iterations - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))
