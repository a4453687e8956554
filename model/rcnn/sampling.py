"""Which regions the box head learns from: as in torchvision, or as in the thesis (Tare 2020)."""

from __future__ import annotations

from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou

#: torchvision's label of regions from which nothing is learned.
_LEFT_OUT = -1


class SamplingHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's heads, which may learn background only from regions that nearly hit a cell.

    Parameters
    ----------
    background_from
        IoU with a cell, in [0, 1], below which nothing is learned from a region. All regions of an
        image without cells are background.
    """

    background_from: float = 0.0

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return for each image which true box each region matches, and the label that it teaches.

        Returns
        -------
        Shape (N,) for each image, twice; the label is -1 where nothing is learned.
        """
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        if self.background_from:
            for label, regions, cells in zip(labels, proposals, gt_boxes, strict=True):
                if len(cells):
                    near = box_iou(regions, cells).amax(dim=1) >= self.background_from
                    label[~near] = _LEFT_OUT
        return matched, labels
