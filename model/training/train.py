"""How a detector learns: for minutes, by one or more processes, resumable at every checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torchvision.models.detection import FasterRCNN

from model.config import DetectorConfig, TrainConfig
from model.errors import MemoryTooSmall, ProcessLost
from model.keeping.version_folder import WEIGHTS
from model.labels.examples import DatasetSnapshot
from model.progress import OnProgress, ignore
from model.rcnn.backbones import imagenet_note, keep_stem
from model.rcnn.detector import build, pick_device
from model.rcnn.weights import InitialWeights, save_weights, start_from
from model.training.augment import too_large
from model.training.batches import helpers_for, variation_of
from model.training.data import KEEP_BYTES, Examples
from model.training.look_plan import looks_for
from model.training.looks import Looks
from model.training.memory import keep_memory
from model.training.parallel import Ranks, accompanied, processes_for
from model.training.schedule import iterations_for
from model.training.steps import Training, steps_left
from model.versions import Course
from preprocessing.groups import ContrastGroups
from preprocessing.hashing import sha256_of

log = logging.getLogger(__name__)

#: Folder of the images that memory has no room for.
PREPARED = "prepared"
#: Of the checkpoints.
_FORMAT = 4


class Trained(NamedTuple):
    """What a training has made.

    Parameters
    ----------
    weights
        Their file, in the training's folder.
    course
        How many steps it took, and whether the first layers stayed as they were.
    notes
        What users of the weights should know, in sentences, such as that memory ran out.
    """

    weights: Path
    course: Course
    notes: tuple[str, ...]


def train(
    snapshot: DatasetSnapshot,
    groups: ContrastGroups,
    detector: DetectorConfig,
    training: TrainConfig,
    *,
    workdir: Path,
    start: InitialWeights | None = None,
    device: str = "auto",
    on_progress: OnProgress = ignore,
    processes: int = 0,
) -> Trained:
    """Train a detector on the train side of a snapshot.

    A training that was killed goes on from its last checkpoint in ``workdir`` when this is called
    again with the same snapshot and configuration. With as many processes, each of one CPU thread,
    its steps are then the very same; others add in another order. When the loss becomes NaN or
    infinite, it ends with the weights of the last checkpoint. When memory runs out, fewer images at
    a time go through the network from then on; a step still learns from the whole batch. How many
    threads it uses is the caller's choice (``torch.set_num_threads``), and the caller's random
    state is left alone.

    An inner side is looked at now and then: a training that gains no more ends sooner, and weights
    that were clearly better than the last are kept (see
    ``model.training.looks`` and ``look_plan``).

    Parameters
    ----------
    detector
        Resolved: scale and anchor sizes given.
    workdir
        A folder of this training alone; made when absent.
    start
        What it begins with; None: nothing, or ImageNet weights as ``training.imagenet`` says.
    processes
        How many share each batch, at most ``training.batch``; 0: as
        ``model.training.parallel.processes_for`` says. Where another one ends by itself, or memory
        does not suffice for several, the training goes on alone, and a note says so.

    Raises
    ------
    NothingToLearn
        When no training image has a box.
    TrainingDiverged
        When the loss became NaN or infinite before the first checkpoint.
    MemoryTooSmall
        When memory ran out with a single image in the network.
    """
    images, cells = snapshot.of_side("train"), len(snapshot.cells_to_learn)
    workdir.mkdir(parents=True, exist_ok=True)
    steps = training.iterations or iterations_for(len(images), cells, begun=start is not None)
    plan = replace(training, iterations=steps)
    task = _Task(snapshot, groups, detector, plan, start, workdir, device)
    on = pick_device(device)
    with torch.random.fork_rng(devices=[on] if on.type == "cuda" else []):
        left = steps_left(plan, workdir, task.fingerprint)
        size = processes or processes_for(device, plan.batch, left)
        run = _carried_out(task, size, on_progress)
    began = "" if start else imagenet_note(detector.backbone, training.imagenet)
    unlearned = too_large(images, detector.scale, variation_of(plan))
    return Trained(
        save_weights(run.module, workdir / WEIGHTS),
        Course(run.iteration, start is not None and plan.keep_stem),
        tuple(filter(None, (began, unlearned, *run.notes))),
    )


def _carried_out(task: _Task, size: int, on_progress: OnProgress) -> Training:
    """Take all steps; alone from the last checkpoint on where several cannot go on."""
    try:
        return task.carried_out(size, on_progress)
    except ProcessLost as lost:
        note = f"{lost}: the training went on alone, slower"
    except MemoryTooSmall as error:
        if size == 1:
            raise
        note = f"{error}; the training went on in one process"
    # Here the error is gone, and with it what its frames held.
    log.warning(note)
    return task.carried_out(1, on_progress, note)


@dataclass(frozen=True)
class _Task:
    """What is to be trained: the same for each of its processes, and sent to the others."""

    snapshot: DatasetSnapshot
    groups: ContrastGroups
    detector: DetectorConfig
    training: TrainConfig
    start: InitialWeights | None
    workdir: Path
    device: str

    def carried_out(self, size: int, on_progress: OnProgress, note: str = "") -> Training:
        """Take all steps, by so many processes, from where the checkpoint is."""
        looks = looks_for(self.snapshot, self.groups, self.detector, self.training)
        run = self.begin(Ranks(0, size), looks)
        run.notes = [*run.notes, *filter(None, [note])]
        done = run.iteration == run.schedule.end
        looking_at = run.looks.at if run.looks else None
        help_with = partial(self.help_with, looking_at)
        with accompanied(1 if done else size, help_with, run.device):
            run.go_on(on_progress)
        return run

    def begin(self, ranks: Ranks, looks: Looks | None) -> Training:
        """Build the training, as far as its checkpoint goes."""
        keep_memory()
        snapshot, groups, detector = self.snapshot, self.groups, self.detector
        torch.manual_seed(self.training.seed)
        on = ranks.device(pick_device(self.device))
        readers = ranks.size * max(1, helpers_for(on, ranks))
        run = Training(
            self._module(),
            self.training,
            Examples(
                snapshot.of_side("train"),
                groups,
                snapshot.classes,
                detector.scale,
                keep_bytes=KEEP_BYTES // readers,
                folder=self.workdir / PREPARED,
            ),
            on,
            self.workdir,
            self.fingerprint,
            looks=looks,
            ranks=ranks,
        )
        run.resume()
        return run

    def help_with(self, looking_at: frozenset[int] | None, ranks: Ranks) -> None:
        """Take part in all steps, as another process than the first, which alone looks."""
        looks = None
        if looking_at is not None:
            looks = Looks((), self.groups, self.snapshot.classes, self.detector, looking_at)
        self.begin(ranks, looks).go_on(ignore)

    def _module(self) -> FasterRCNN:
        imagenet = "never" if self.start else self.training.imagenet
        module = build(self.detector, self.snapshot.classes, self.training, imagenet)
        if self.start:
            taken = start_from(module, self.start, self.snapshot.classes)
            if self.training.keep_stem:
                keep_stem(self.detector.backbone, module.backbone)
            log.info("starting from %s: %d tensors taken over", self.start.file, taken)
        return module

    @property
    def fingerprint(self) -> str:
        """What makes it this training; a checkpoint of another one is not taken up."""
        begun = sha256_of(self.start.file) if self.start else None
        content = [
            _FORMAT,
            self.snapshot.sha256,
            self.groups.sha256,
            self.detector.to_json(),
            self.training.to_json(),
            begun,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
