"""A Faster R-CNN written out as one graph: from an image of any size to its boxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.detection import FasterRCNN

from model.config import DetectorConfig
from model.rcnn.detector import DEVIATION, MEAN, PAD_TO
from model.rcnn.heads import classify
from model.rcnn.pooling import Descriptions
from model.rcnn.proposals import propose
from model.rcnn.refining import refined


class Graph(nn.Module):
    """What :class:`model.rcnn.detector.TorchDetector` does with one image, in operations ONNX has.

    Only an order differs: regions are pooled map by map, and not put back into that of proposals.

    Parameters
    ----------
    module
        From ``model.rcnn.detector.build``, on the CPU, in evaluation mode.
    """

    def __init__(self, module: FasterRCNN, config: DetectorConfig) -> None:
        super().__init__()
        self.module = module
        self.config = config
        heads = module.roi_heads
        self.describe = Descriptions(heads, heads.box_head)
        if config.refined:
            self.describe_found = Descriptions(heads, heads.refiner.head)

    def forward(self, image: Tensor, floor: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Find the cells of one image.

        Parameters
        ----------
        image
            Shape (H, W), in [0, 1].
        floor
            Objectness below which a proposal is not looked at; no shape.

        Returns
        -------
        Boxes (N, 4) in pixels, scores (N,) descending, labels (N,) from 0 on, and shape (2,):
        whether ``rpn_pre_nms`` and ``rpn_post_nms`` cut likely cells.
        """
        height, width = (torch.as_tensor(side) for side in image.shape)
        room = (0, -width % PAD_TO, 0, -height % PAD_TO)
        padded = pad((image - MEAN) / DEVIATION, room)  # type: ignore[arg-type] # traced sides
        limits = torch.stack([width, height]).to(image.dtype)
        maps = list(self.module.backbone(padded[None, None]).values())
        rpn, config = self.module.rpn, self.config
        proposals, capped = propose(rpn, config, maps, padded.shape, limits, floor)
        order, described = self.describe(maps, proposals)
        heads, regions = self.module.roi_heads, proposals[order]
        found = classify(heads, regions, described, limits, config.vote_iou)
        if config.refined:
            found = refined(heads, found, limits, lambda boxes: self._described(maps, boxes))
        return *found, capped

    def _described(self, maps: list[Tensor], boxes: Tensor) -> Tensor:
        """Return what the refiner's head makes of each box, in their order."""
        order, described = self.describe_found(maps, boxes)
        in_order: Tensor = described[order.argsort()]
        return in_order
