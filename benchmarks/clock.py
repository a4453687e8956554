"""Trainings that end with the clock: what the benchmarks compare at equal time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN

from model.boxes import CELL
from model.config import DetectorConfig, TrainConfig
from model.errors import TrainingDiverged
from model.labels.examples import DatasetSnapshot
from model.looking.loaded import LoadedVersion
from model.rcnn.backbones import keep_stem
from model.rcnn.detector import TorchDetector, build, pick_device
from model.rcnn.weights import InitialWeights, start_from
from model.training.data import Examples
from model.training.steps import Training
from model.versions import ModelVersion
from preprocessing.fitting import fit_images
from preprocessing.groups import ContrastGroups

#: Steps that are planned where the rate is not to fall.
ENDLESS = 10**9


@dataclass
class Clock:
    """The time of a training: that of its steps, not of what is measured between them.

    Parameters
    ----------
    limit_s
        Seconds of the whole training.
    falling
        Whether the rate falls to nothing at the limit, as ours does at its last step, or stays.
    elapsed_s, cpu_s
        Seconds of steps so far, by ``now`` and of CPU in all threads.
    now
        Measures the time: the wall's, or ``time.process_time`` beside other work.
    """

    training: Training
    limit_s: float
    falling: bool = True
    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    now: Callable[[], float] = time.perf_counter

    def run_until(self, mark_s: float) -> None:
        """Take steps until ``mark_s`` seconds have gone by.

        Raises
        ------
        TrainingDiverged
            When the loss became NaN or infinite.
        """
        while self.elapsed_s < mark_s:
            self._plan()
            began, cpu = self.now(), time.process_time()
            loss = self.training.step()
            self.elapsed_s += self.now() - began
            self.cpu_s += time.process_time() - cpu
            if not math.isfinite(loss):
                raise TrainingDiverged(f"the loss became {loss} at step {self.training.iteration}")

    def _plan(self) -> None:
        """Plan as many steps as fit before the limit, at the mean time of a step so far."""
        done = self.training.iteration
        steps = planned(done, self.elapsed_s, self.limit_s) if self.falling else ENDLESS
        self.training.config = replace(self.training.config, iterations=steps)


def planned(done: int, elapsed_s: float, limit_s: float) -> int:
    """Return how many steps there will be, at least one more than are done."""
    if not done or not elapsed_s:
        return ENDLESS
    return max(done + 1, round(done * limit_s / elapsed_s))


@dataclass(frozen=True)
class Pupil:
    """What is to be trained: a detector, resolved, and the images it sees."""

    detector: DetectorConfig
    config: TrainConfig
    snapshot: DatasetSnapshot
    groups: ContrastGroups

    @classmethod
    def of(cls, detector: DetectorConfig, config: TrainConfig, snapshot: DatasetSnapshot) -> Pupil:
        images = (image.read() for image in snapshot.of_side("train"))
        return cls(detector, config, snapshot, fit_images(images, config.contrast))

    def training(
        self, workdir: Path, device: str, fingerprint: str, start: Path | None = None
    ) -> Training:
        """Return its training, begun from the seed or a starter, or taken up from ``workdir``.

        Parameters
        ----------
        start
            A starter's weights; all layers learn where there are none, and where the
            configuration does not keep the first.
        """
        workdir.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.config.seed)
        module = build(self.detector, self.snapshot.classes, self.config, self.config.imagenet)
        if start:
            start_from(module, InitialWeights(start, (CELL,)), self.snapshot.classes)
        if start and self.config.keep_stem:
            keep_stem(self.detector.backbone, module.backbone)
        images = self.snapshot.of_side("train")
        examples = Examples(images, self.groups, self.snapshot.classes, self.detector.scale)
        run = Training(module, self.config, examples, pick_device(device), workdir, fingerprint)
        run.resume()
        return run

    def version(
        self, module: FasterRCNN, device: str, detector: DetectorConfig | None = None
    ) -> LoadedVersion:
        """Return the module as a version that serves; it is left in eval mode."""
        config, classes = detector or self.detector, self.snapshot.classes
        found_by = TorchDetector(module, config, classes, device)
        return LoadedVersion(
            ModelVersion("pupil", "trained", classes, 0.0, config), self.groups, found_by
        )


def marks_s(limit_s: float, shares: Sequence[float]) -> list[float]:
    """Return the seconds at which a training is looked at, the limit last."""
    return sorted({limit_s * share for share in (*shares, 1.0) if share <= 1})
