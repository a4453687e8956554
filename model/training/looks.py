"""Looks at the inner side during a training: does it still gain, which weights were best."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from model.boxes import Detections
from model.config import DetectorConfig
from model.judging.evaluation import find_in, mean_of_classes
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from model.rcnn.detector import TorchDetector
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared

#: Looks in a row without a gain after which a training has learned what it can.
_PATIENCE = 3
#: AP that is a gain. Boxes go on getting tighter when no more cells are found: of 20 images of
#: phase contrast 600 steps taught AP75 0.467 and AP50 0.860, 300 steps 0.399 and 0.853.
_GAIN = 0.01
#: Cells that must be looked at for a training to end sooner: among fewer, one cell more or less is
#: several times ``_GAIN``.
_ENOUGH_CELLS = 30
#: AP50 by which an earlier look must be above the last for its weights to be kept. Few images prove
#: little: on 8 images of blood cells three looks had 0.875, 0.823 and 0.821, and on 30 others the
#: same weights had 0.794, 0.809 and 0.813.
_CLEARLY = 0.05
#: Cells of one class that it must have found more, at the least: where few are looked at, a single
#: one makes more than ``_CLEARLY``. On 4 images, with 5 cells of the rarest of three classes, step
#: 76 of 534 had 0.928 and the last 0.755: on 223 others both were equally good.
_CLEARLY_CELLS = 3


class Look(NamedTuple):
    """What was seen at an iteration: AP50 and AP, the mean over the classes."""

    iteration: int
    ap50: float
    ap: float


@dataclass
class Looks:
    """What was seen on the inner side so far.

    Parameters
    ----------
    images
        Those that are looked at each time.
    parts
        What is looked at of each, where they are too large to be looked at whole; the images' boxes
        are then in pixels of these. Empty: the images are looked at whole.
    groups, classes, detector
        As the version will have them.
    at
        The iterations after which they are looked at.
    seen
        Each look that was taken.
    best
        The weights of the look with the highest AP50, on the CPU.
    """

    images: tuple[LabelledImage, ...]
    groups: ContrastGroups
    classes: tuple[str, ...]
    detector: DetectorConfig
    at: frozenset[int]
    seen: list[Look] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    parts: tuple[Prepared, ...] = ()

    @property
    def ap50(self) -> float | None:
        """AP50 of the last look."""
        return self.seen[-1].ap50 if self.seen else None

    def look(self, module: FasterRCNN, iteration: int, device: str) -> None:
        """Find the cells of the inner images with a copy of a module that is being trained."""
        detector = TorchDetector(deepcopy(module), self.detector, self.classes, device)
        precision = mean_of_classes(self._found(detector), self.images, self.classes)
        now = Look(iteration, precision.ap50 or 0.0, precision.ap or 0.0)
        if now.ap50 > max((look.ap50 for look in self.seen), default=-1.0):
            self.best = {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
        self.seen = [*self.seen, now]

    def _found(self, detector: TorchDetector) -> list[Detections]:
        if self.parts:
            return [detector.detect([part])[0] for part in self.parts]
        quick = self.detector.looking_once  # in a quarter of the time
        version = ModelVersion("in training", "trained", self.classes, 0.0, quick)
        return find_in(LoadedVersion(version, self.groups, detector), self.images)[0]

    def without_gain_since(self) -> int | None:
        """Return the iteration since which nothing was gained, where that is some looks ago.

        None where too few cells are looked at to show it.
        """
        earlier, late = self.seen[:-_PATIENCE], self.seen[-_PATIENCE:]
        if not earlier or self._cells < _ENOUGH_CELLS:
            return None
        if max(look.ap for look in late) > max(e.ap for e in earlier) + _GAIN:
            return None
        return earlier[-1].iteration

    def clearly_better(self) -> Look | None:
        """Return the look with the best AP50, where the last is clearly below it."""
        if not self.seen:
            return None
        best = max(self.seen, key=lambda look: look.ap50)
        clearly = max(_CLEARLY, self._of_few_cells)
        return best if best.ap50 > self.seen[-1].ap50 + clearly else None

    @property
    def _of_few_cells(self) -> float:
        """AP50, the mean of the classes, that ``_CLEARLY_CELLS`` of the rarest class make."""
        of_classes = Counter(box.label for image in self.images for box in image.boxes).values()
        return min(1.0, _CLEARLY_CELLS / min(of_classes)) / len(of_classes)

    @property
    def _cells(self) -> int:
        return sum(len(image.boxes) for image in self.images)
