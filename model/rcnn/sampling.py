"""Which regions the box head learns from: as torchvision has it, or as the thesis' code had it."""

from __future__ import annotations

from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou

#: The label of regions that nothing is learned of, torchvision's own.
_LEFT_OUT = -1


class SamplingHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's heads, which may learn their background from what nearly hits a cell alone.

    Parameters
    ----------
    background_from
        IoU with a cell below which nothing is learned of a region; an image without cells has
        background all over.
    """

    background_from: float = 0.0

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Say of which true box each region is, and the label that it teaches; -1: none."""
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        if self.background_from:
            for label, regions, cells in zip(labels, proposals, gt_boxes, strict=True):
                if len(cells):
                    near = box_iou(regions, cells).amax(dim=1) >= self.background_from
                    label[~near] = _LEFT_OUT
        return matched, labels
