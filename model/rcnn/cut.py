"""Cells that the edge of a window cuts: learned neither as cells nor as background.

At the edge of a whole image the annotators have decided what a cut cell is. At the edges of the
windows that a training learns from nobody has, and there are far more of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import box_iou

#: The label of what is left of a cell. torchvision's heads learn nothing of regions that match it.
CUT = -1
#: torchvision's own for anchors of which nothing is learned.
_IGNORED = -1.0

Target = dict[str, Tensor]


def whole(target: Target) -> Target:
    """Return the boxes and labels of the cells alone."""
    is_whole = target["labels"] != CUT
    return {name: target[name][is_whole] for name in ("boxes", "labels")}


class CutProposing(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's proposals, whose anchors on what is left of a cell are not learned from."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: Sequence[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return for each image the label and the box of each anchor.

        Returns
        -------
        Shape (N,) for each image: 1 for a cell, 0 for background, -1 where nothing is learned; and
        shape (N, 4), float32: the true box that it belongs to.
        """
        labels, matched = super().assign_targets_to_anchors(anchors, [whole(t) for t in targets])
        for label, of_image, target in zip(labels, anchors, targets, strict=True):
            cut = target["boxes"][target["labels"] == CUT]
            if len(cut):
                on_one = box_iou(cut, of_image).amax(dim=0) >= self.proposal_matcher.low_threshold
                label[on_one & (label == 0)] = _IGNORED
        return labels, matched
