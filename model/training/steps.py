"""The steps of a training, from its beginning or a checkpoint to its end."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from model.config import TrainConfig
from model.errors import MemoryTooSmall, TrainingDiverged, out_of_memory
from model.progress import OnProgress, Progress, ignore
from model.rcnn.backbones import to_learn
from model.rcnn.detector import on_device
from model.training.batches import Batches, Source
from model.training.checkpoints import CHECKPOINT, Checkpoint
from model.training.data import Example
from model.training.gradients import gradient
from model.training.looks import Looks
from model.training.parallel import ALONE, Ranks
from model.training.schedule import Schedule, warmup
from model.training.stopping import stops_held

log = logging.getLogger(__name__)

#: Steps after which a training tells how far it has come, and after which it keeps that.
REPORT_EVERY, CHECKPOINT_EVERY = 10, 50


@dataclass
class Training:
    """A training under way.

    Parameters
    ----------
    looks
        At the inner side; None: the schedule is fixed.
    at_once
        Images that go through the network together: all of its share until memory runs out.
    cut
        The iteration from which the schedule is cut short; None: it is not.
    notes
        What users of the weights should know, in sentences.
    ranks
        The processes that take the same steps; only the first looks, reports and keeps.
    """

    module: FasterRCNN
    config: TrainConfig
    examples: Source
    device: torch.device
    workdir: Path
    fingerprint: str
    looks: Looks | None = None
    iteration: int = 0
    at_once: int = 0
    cut: int | None = None
    notes: list[str] = field(default_factory=list)
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        self.at_once = self.at_once or math.ceil(self.config.batch / self.ranks.size)
        to_learn(on_device(self.module, self.device))
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.config.optimiser]
        self.optimiser = kind(
            self.module.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        self._coming: Iterator[list[Example]] | None = None

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.config, self.cut)

    @property
    def checkpoint(self) -> Path:
        return self.workdir / CHECKPOINT

    def resume(self) -> None:
        """Take up the checkpoint in the folder, if it is this training's."""
        kept = Checkpoint.read(self.checkpoint, self.fingerprint)
        if kept is None:
            self.checkpoint.unlink(missing_ok=True)
            return
        self.module.load_state_dict(kept.module)
        self.optimiser.load_state_dict(kept.optimiser)
        self.iteration, self.at_once = kept.iteration, min(self.at_once, kept.at_once)
        self.notes, self.cut = kept.notes, kept.cut
        if kept.seen is None:
            self.looks = None
        elif self.looks and self.ranks.first:  # the others look at nothing, and choose nothing
            self.looks.seen = kept.seen
            self.looks.best = kept.best
        log.info("going on at iteration %d of %d", self.iteration, self.schedule.end)

    def keep(self) -> None:
        """Write a checkpoint."""
        if not self.ranks.first:
            return
        Checkpoint(
            fingerprint=self.fingerprint,
            module=self.module.state_dict(),
            optimiser=self.optimiser.state_dict(),
            iteration=self.iteration,
            at_once=self.at_once,
            cut=self.cut,
            notes=self.notes,
            seen=self.looks.seen if self.looks else None,
            best=self.looks.best if self.looks else {},
        ).write(self.checkpoint)

    def go_on(self, on_progress: OnProgress) -> None:
        """Take the steps that are left; when it is to stop, end this step and keep it first.

        Raises
        ------
        TrainingDiverged
            When the loss became NaN or infinite before the first checkpoint.
        """
        losses: list[float] = []
        with stops_held() as is_to_stop:
            while self.iteration < self.schedule.end:
                loss = self.step(on_progress)
                if not math.isfinite(loss):
                    self._fall_back(on_progress)
                    return
                losses = [*losses[1 - REPORT_EVERY :], loss]
                done = self.iteration == self.schedule.end
                noted = self._look(done)
                mark = done or noted is not None
                stops = is_to_stop()
                if mark or stops or self._is_worth_keeping:
                    self.keep()
                if stops:
                    return
                if mark or self.iteration % REPORT_EVERY == 0:
                    on_progress(self._progress(float(np.mean(losses)), noted or ""))
        self._choose()

    @property
    def _is_worth_keeping(self) -> bool:
        # Losses explode at the highest rate: what the warm-up has learned is then good still.
        return self.iteration % CHECKPOINT_EVERY == 0 or self.iteration == warmup(self.config)

    def _look(self, done: bool) -> str | None:
        """Look at the inner side where it is time; return a note, or ""; None: not looked."""
        if self.looks is None or not (done or self.iteration in self.looks.at):
            return None
        # The others do not look: what the first saw holds for all.
        if self.ranks.most(self.ranks.first and not self._looked(self.looks)):
            return self._look_no_more()
        since, shorter = self.looks.without_gain_since(), self.schedule.shortened(self.iteration)
        gains_no_more = bool(self.ranks.most(self.ranks.first and since is not None))
        if done or not gains_no_more or shorter == self.schedule:
            return ""
        self.cut = shorter.cut
        note = (
            f"no gain on the inner images since iteration {since}: the training ends at"
            f" {self.schedule.end} instead of {self.config.iterations}"
        )
        self.notes = [*self.notes, note]
        return note

    def _looked(self, looks: Looks) -> bool:
        """Look, and say whether memory sufficed."""
        try:
            with self.ranks.all_threads():
                looks.look(self.module, self.iteration, str(self.device))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            log.warning("memory ran out: %s", str(error))  # a record kept keeps the frames
            return False
        return True

    def _look_no_more(self) -> str:
        """Go on without looks, where a whole image needs more memory than a step."""
        self.looks = None
        self._empty_cache()
        note = (
            f"memory ran out at iteration {self.iteration} while the inner images were looked at:"
            f" the training goes on without, to {self.schedule.end}, and keeps its last weights"
        )
        self.notes = [*self.notes, note]
        return note

    def _choose(self) -> None:
        """Take weights of an earlier look where they were clearly better than the last."""
        if self.looks is None or (better := self.looks.clearly_better()) is None:
            return
        self.module.load_state_dict(self.looks.best)
        note = (
            f"the weights of iteration {better.iteration} were kept: AP50 on the inner images"
            f" {better.ap50:.3f}, {self.looks.ap50:.3f} at the end"
        )
        log.info(note)
        self.notes = [*self.notes, note]

    def step(self, on_progress: OnProgress = ignore) -> float:
        """Learn from one batch and return its loss; NaN where it is not finite: no step is taken.

        BatchNorm's statistics have then moved all the same.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate(self.iteration)
        loss = self._gradient(self._next_share(), on_progress)
        norm = torch.nn.utils.clip_grad_norm_(
            self.module.parameters(), self.config.gradient_clip or math.inf
        )
        if not torch.isfinite(loss + norm):
            return math.nan
        self.optimiser.step()
        self.iteration += 1
        return float(loss)

    def _next_share(self) -> list[Example]:
        if self._coming is None:
            batches = Batches(self.examples, self.config, self.ranks)
            self._coming = batches.following(self.iteration, self.device)
        return next(self._coming)

    def _gradient(self, share: list[Example], on_progress: OnProgress) -> Tensor:
        """Leave the gradient of the batch in the parameters, in parts as small as memory needs."""
        seed = self.config.seed * 1_000_003 + self.iteration
        while True:
            try:
                return gradient(
                    self.module,
                    share,
                    batch=self.config.batch,
                    at_once=self.at_once,
                    seed=seed,
                    device=self.device,
                    ranks=self.ranks,
                )
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                log.warning("memory ran out: %s", str(error))  # a record kept keeps the frames
                if self.at_once == 1:
                    raise MemoryTooSmall(self._too_small()) from error
            # Here the error is gone, and with it what its frames held.
            self._halve(on_progress)

    def _halve(self, on_progress: OnProgress) -> None:
        self.module.zero_grad(set_to_none=True)
        self._empty_cache()
        self.at_once //= 2
        note = (
            f"memory ran out at iteration {self.iteration}: since then {self.at_once} of a batch's"
            f" {self.config.batch} images at a time, slower; a step still learns from all of them"
        )
        self.notes = [*self.notes, note]
        self.keep()  # A training that is killed now goes on with what memory allows.
        on_progress(self._progress(None, note))

    def _empty_cache(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _too_small(self) -> str:
        memory = "the GPU's memory" if self.device.type == "cuda" else "the memory"
        return (
            f"{memory} ran out at iteration {self.iteration} with a single image in the network:"
            " end other programs that use it, train where there is more of it, or let crop_px be"
            f" {f'below {self.config.crop_px}' if self.config.crop_px else '320 instead of 0'}"
        )

    def _fall_back(self, on_progress: OnProgress) -> None:
        if not self.ranks.first:
            return
        kept = Checkpoint.read(self.checkpoint, self.fingerprint)
        # One from before the first step only says what memory allows.
        if kept is None or not kept.iteration:
            raise TrainingDiverged(
                f"the loss became NaN or infinite at iteration {self.iteration}, before the first"
                f" checkpoint: try a learning rate below {self.config.learning_rate:g}"
            )
        message = (
            f"the loss became NaN or infinite at iteration {self.iteration};"
            f" the weights of iteration {kept.iteration} were kept"
        )
        self.module.load_state_dict(kept.module)
        self.iteration = kept.iteration
        log.warning(message)
        self.notes = [*self.notes, message]
        on_progress(Progress("training", 1.0, self.iteration, self.schedule.end, message=message))

    def _progress(self, loss: float | None, message: str = "") -> Progress:
        done, end = self.iteration, self.schedule.end
        ap50 = self.looks.ap50 if self.looks else None
        return Progress("training", done / end, done, end, loss, message, ap50)


def steps_left(config: TrainConfig, workdir: Path, fingerprint: str) -> int:
    """Return how many steps a training has to take yet, from its checkpoint on, if there is one."""
    kept = Checkpoint.read(workdir / CHECKPOINT, fingerprint)
    cut, taken = (kept.cut, kept.iteration) if kept else (None, 0)
    return Schedule(config, cut).end - taken
