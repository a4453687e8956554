"""Cells that the edge of a window cuts: what is left of one is learned neither as cell nor as none.

In a whole image such remains are cells or none as the annotators have it. At the edges of the
windows that are learned from nobody has said it, and they are far more.
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
        """Say what each anchor shows (1, 0, or -1: nothing is learned of it), and of which box."""
        labels, matched = super().assign_targets_to_anchors(anchors, [whole(t) for t in targets])
        for label, of_image, target in zip(labels, anchors, targets, strict=True):
            cut = target["boxes"][target["labels"] == CUT]
            if len(cut):
                on_one = box_iou(cut, of_image).amax(dim=0) >= self.proposal_matcher.low_threshold
                label[on_one & (label == 0)] = _IGNORED
        return labels, matched
