"""Which regions the thesis' classifier learned from; torchvision chooses others."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.models.detection import FasterRCNN
from torchvision.ops import box_iou

#: Half of the thesis' four regions showed a cell; torchvision takes a quarter.
POSITIVE = 0.5
LEFT_OUT = -1


def sample_as_the_thesis(module: FasterRCNN, overlap: tuple[float, float]) -> None:
    """Let a detector in training sample regions as keras-frcnn does.

    What overlaps no cell by IoU of ``overlap[0]`` is left out, what overlaps one by ``overlap[1]``
    is that cell, and what lies between is background. torchvision leaves out what lies between.
    """
    low, high = overlap

    def assign(proposals: Any, boxes: Any, labels: Any) -> tuple[list[Any], list[Any]]:
        matched, assigned = [], []
        for each, true, names in zip(proposals, boxes, labels, strict=True):
            if len(true):
                best, cell = box_iou(each, true).max(dim=1)
                label = torch.where(best >= high, names[cell], 0)
                label[best < low] = LEFT_OUT
            else:
                cell = torch.zeros(len(each), dtype=torch.int64, device=each.device)
                label = cell.clone()
            matched.append(cell)
            assigned.append(label)
        return matched, assigned

    module.roi_heads.assign_targets_to_proposals = assign
    module.roi_heads.fg_bg_sampler.positive_fraction = POSITIVE
