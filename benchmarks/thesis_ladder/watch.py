"""What a training step did, read off torchvision's detector while it learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

#: torchvision's names in the order of the record's four losses.
LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")


class Watch:
    """Sums up overlapping proposals, class accuracy and losses of a detector's training steps.

    Hooks only: the detector does what it would do unwatched.
    """

    def __init__(self, module: FasterRCNN) -> None:
        self._heads = module.roi_heads
        self._assign = self._heads.assign_targets_to_proposals
        self._select = self._heads.select_training_samples
        self._heads.assign_targets_to_proposals = self._on_assign
        self._heads.select_training_samples = self._on_select
        self._heads.box_predictor.register_forward_hook(self._on_scores)
        module.register_forward_hook(self._on_losses)
        self._sampled = torch.zeros(0)
        self.start()

    def start(self) -> None:
        """Begin to sum anew."""
        self._overlapping: list[int] = []
        self._accurate: list[float] = []
        self._losses: list[list[float]] = []

    @property
    def means(self) -> tuple[float, ...]:
        """Overlapping boxes, class accuracy, the four losses: means since the start; NaN: none."""
        losses = zip(*self._losses, strict=True) if self._losses else [()] * len(LOSSES)
        sums = (self._overlapping, self._accurate, *losses)
        return tuple(sum(each) / len(each) if each else float("nan") for each in sums)

    def _on_assign(self, proposals: Any, boxes: Any, labels: Any) -> Any:
        matched, assigned = self._assign(proposals, boxes, labels)
        for each, true in zip(assigned, boxes, strict=True):
            # torchvision puts the true boxes last among the proposals.
            self._overlapping.append(int((each[: len(each) - len(true)] > 0).sum()))
        return matched, assigned

    def _on_select(self, proposals: Any, targets: Any) -> Any:
        chosen = self._select(proposals, targets)
        self._sampled = torch.cat(chosen[2])
        return chosen

    def _on_scores(self, module: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        if module.training:
            right = output[0].detach().argmax(dim=1) == self._sampled
            self._accurate.append(float(right.float().mean()))

    def _on_losses(self, module: Any, inputs: Any, output: Any) -> None:
        if module.training:
            self._losses.append([float(output[name].detach()) for name in LOSSES])
