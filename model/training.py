"""How a detector learns: AdamW, warm-up and cosine, for minutes, resumable at every checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from model.augment import Variation, vary
from model.config import DetectorConfig, TrainConfig
from model.data import Example, Examples
from model.detector import build, on_device, pick_device
from model.errors import MemoryTooSmall, NothingToLearn, TrainingDiverged
from model.examples import DatasetSnapshot
from model.gradients import gradient, out_of_memory
from model.memory import keep_memory
from model.progress import OnProgress, Progress, ignore, ignore_note
from model.weights import load_checkpoint, save_checkpoint, save_weights, start_from
from preprocessing.groups import ContrastGroups

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.pt"
_REPORT_EVERY = 10
_CHECKPOINT_EVERY = 50
#: Of the checkpoints; one of another format is not taken up.
_FORMAT = 2


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
    on_note: Callable[[str], None] = ignore_note,
) -> Path:
    """Train a detector on the train side of a snapshot.

    A training that was killed goes on from its last checkpoint in ``workdir`` when it is called
    again with the same snapshot and configuration, step for step as if nothing had happened (on
    one CPU thread; more threads add in another order). When the loss becomes NaN or infinite, it
    ends with the weights of the last checkpoint. When memory runs out, fewer images at a time go
    through the network from then on; a step still learns from the whole batch. How many threads
    it uses is the caller's choice (``torch.set_num_threads``); the caller's random state is left
    alone.

    Parameters
    ----------
    detector
        Resolved: scale and anchor sizes given.
    start, start_classes
        Weights to begin with, and the classes they know; None: from nothing, or from ImageNet
        weights as ``training.imagenet`` says.
    workdir
        A folder of this training alone; made when absent.
    on_note
        Told at the end what whoever uses the weights should know, such as that memory ran out.

    Returns
    -------
    The file of the weights, in ``workdir``.

    Raises
    ------
    NothingToLearn
        When no training image has a box of the snapshot's classes.
    TrainingDiverged
        When the loss became NaN or infinite before the first checkpoint.
    MemoryTooSmall
        When memory ran out with a single image in the network.
    """
    images = snapshot.of_side("train")
    if not any(box.label in snapshot.classes for image in images for box in image.boxes):
        raise NothingToLearn(
            f"none of the {len(images)} training images has a box of {', '.join(snapshot.classes)}:"
            " correct at least one image with cells, then train again"
        )
    keep_memory()
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
    for note in run.notes:
        on_note(note)
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
    content = [
        _FORMAT,
        snapshot.sha256,
        groups.sha256,
        detector.to_json(),
        training.to_json(),
        begun,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass
class Training:
    """A training under way.

    All chance is drawn anew from the seed and the iteration, so that a checkpoint holds no random
    state.

    Parameters
    ----------
    at_once
        Images that go through the network together: all of the batch until memory runs out.
    notes
        What whoever uses the weights should know.
    """

    module: FasterRCNN
    config: TrainConfig
    examples: Examples
    device: torch.device
    workdir: Path
    fingerprint: str
    iteration: int = 0
    at_once: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at_once = self.at_once or self.config.batch
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
        self.iteration, self.at_once = state["iteration"], state["at_once"]
        self.notes = state["notes"]
        log.info("going on at iteration %d of %d", self.iteration, self.config.iterations)

    def keep(self) -> None:
        """Write a checkpoint."""
        state = {
            "fingerprint": self.fingerprint,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "iteration": self.iteration,
            "at_once": self.at_once,
            "notes": self.notes,
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
            loss = self.step(on_progress)
            if not math.isfinite(loss):
                self._fall_back(on_progress)
                return
            losses = [*losses[1 - _REPORT_EVERY :], loss]
            done = self.iteration == self.config.iterations
            if done or self.iteration % _CHECKPOINT_EVERY == 0:
                self.keep()
            if done or self.iteration % _REPORT_EVERY == 0:
                on_progress(self._progress(float(np.mean(losses))))

    def step(self, on_progress: OnProgress = ignore) -> float:
        """Learn from one batch and return its loss; one that is not finite changes nothing."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate(self.iteration, self.config)
        loss = self._gradient(on_progress)
        norm = torch.nn.utils.clip_grad_norm_(
            self.module.parameters(), self.config.gradient_clip or math.inf
        )
        if not torch.isfinite(loss + norm):
            return math.nan
        self.optimiser.step()
        self.iteration += 1
        return float(loss)

    def _gradient(self, on_progress: OnProgress) -> Tensor:
        """Leave the gradient of the batch in the parameters, by as small parts as memory asks."""
        seed = self.config.seed * 1_000_003 + self.iteration
        while True:
            try:
                return gradient(self.module, self._batch(), self.at_once, seed, self.device)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                log.warning("memory ran out: %s", error)
                if self.at_once == 1:
                    raise MemoryTooSmall(self._too_small()) from error
            # Here the error is gone, and with it what its frames held.
            self._halve(on_progress)

    def _halve(self, on_progress: OnProgress) -> None:
        self.module.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.at_once //= 2
        note = (
            f"memory ran out at iteration {self.iteration}: since then {self.at_once} of a batch's"
            f" {self.config.batch} images at a time, slower; a step still learns from all of them"
        )
        self.notes = [*self.notes, note]
        self.keep()  # A training that is killed now goes on with what memory allows.
        on_progress(self._progress(None, note))

    def _too_small(self) -> str:
        memory = "the GPU's memory" if self.device.type == "cuda" else "the memory"
        return (
            f"{memory} ran out at iteration {self.iteration} with a single image in the network:"
            " end other programs that use it, train where there is more of it, or let crop_px be"
            f" {f'below {self.config.crop_px}' if self.config.crop_px else '320 instead of 0'}"
        )

    def _batch(self) -> list[Example]:
        rng = np.random.default_rng((self.config.seed, self.iteration))
        chosen = [self.examples[i] for i in self._indices()]
        return vary(chosen, rng, variation_of(self.config))

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
        self.notes = [*self.notes, message]
        on_progress(Progress("training", 1.0, kept, self.config.iterations, message=message))

    def _progress(self, loss: float | None, message: str = "") -> Progress:
        done, total = self.iteration, self.config.iterations
        return Progress("training", done / total, done, total, loss, message=message)


def variation_of(config: TrainConfig) -> Variation:
    """Return how far a training varies its examples."""
    return Variation(**{field.name: getattr(config, field.name) for field in fields(Variation)})


def rate(iteration: int, config: TrainConfig) -> float:
    """Return the share of the learning rate at an iteration: linear warm-up, then half a cosine."""
    warmup = min(config.warmup, config.iterations // 4)
    if iteration < warmup:
        return (iteration + 1) / (warmup + 1)
    done = (iteration - warmup) / max(1, config.iterations - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))
