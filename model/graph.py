"""A Faster R-CNN written out as one graph: from an image of any size to its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.detection import FasterRCNN
from torchvision.ops import nms

from model.config import DetectorConfig
from model.detector import DEVIATION, LIKELY, MEAN, PAD_TO
from model.heads import best_first, classify, clip, of_size
from model.pooling import Descriptions

# torchvision's own least side of a proposal.
_LEAST_PROPOSAL_PX = 1e-3


class Graph(nn.Module):
    """What :class:`model.detector.TorchDetector` does with one image, in operations ONNX has.

    It differs from torchvision's forward in order alone: what no threshold lets through is left out
    before it is sorted, decoded or compared, NMS runs within each feature map and each class as it
    is meant, and regions are pooled map by map without being put back into the order of proposals.

    Parameters
    ----------
    module
        From ``model.detector.build``, on the CPU, in evaluation mode.
    """

    def __init__(self, module: FasterRCNN, config: DetectorConfig) -> None:
        super().__init__()
        self.module = module
        self.config = config
        self.describe = Descriptions(module.roi_heads)

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
        proposals, caps = self._propose(maps, padded.shape, limits, floor)
        regions, described = self.describe(maps, proposals)
        heads, votes = self.module.roi_heads, self.config.vote_iou
        boxes, scores, labels = classify(heads, regions, described, limits, votes)
        return boxes, scores, labels, caps

    def _propose(
        self, maps: Sequence[Tensor], padded: Sequence[int], limits: Tensor, floor: Tensor
    ) -> tuple[Tensor, Tensor]:
        rpn, config = self.module.rpn, self.config
        objectness, deltas = rpn.head(maps)
        kept, kept_scores, likely = [], [], []
        for anchors, logits, moves in zip(
            self._anchors(maps, padded), objectness, deltas, strict=True
        ):
            logits = logits[0].permute(1, 2, 0).reshape(-1)
            scores = logits.sigmoid()
            likely.append((scores >= LIKELY).sum() > config.rpn_pre_nms)
            # Logits still differ where scores are all 1.
            at = _best(logits, scores >= floor)[: config.rpn_pre_nms]
            moves = moves[0].view(-1, 4, *moves.shape[2:]).permute(2, 3, 0, 1).reshape(-1, 4)
            boxes = clip(rpn.box_coder.decode_single(moves[at], anchors[at]), limits)
            boxes, best = of_size(_LEAST_PROPOSAL_PX, boxes, scores[at])
            alone = _Alone.apply(boxes, best, config.rpn_nms_iou, config.rpn_post_nms)
            kept.append(boxes[alone])
            kept_scores.append(best[alone])
        scores, order = torch.cat(kept_scores).sort(descending=True)
        scores, order = scores[: config.rpn_post_nms], order[: config.rpn_post_nms]
        full = (scores >= LIKELY).sum() >= config.rpn_post_nms
        return torch.cat(kept)[order], torch.stack([torch.stack(likely).any(), full])

    def _anchors(self, maps: Sequence[Tensor], padded: Sequence[int]) -> list[Tensor]:
        generator = self.module.rpn.anchor_generator
        grids = [level.shape[2:] for level in maps]
        strides = [[side // cells for side, cells in zip(padded, g, strict=True)] for g in grids]
        generator.set_cell_anchors(maps[0].dtype, maps[0].device)
        anchors: list[Tensor] = generator.grid_anchors(grids, strides)
        return anchors


class _Alone(torch.autograd.Function):
    """NMS that ends with the last box that can be kept.

    torchvision's own is exported without an end, and compares each box with all that it left.
    """

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou: float, most: int) -> Tensor:
        alone: Tensor = nms(boxes, scores, iou)
        return alone[:most]

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou: float, most: int) -> Any:
        def constant(value: Sequence[float], dtype: torch.dtype) -> Any:
            return g.op("Constant", value_t=torch.tensor(value, dtype=dtype))

        batch, classes = constant([0], torch.int64), constant([0, 1], torch.int64)
        left = g.op(
            "NonMaxSuppression",
            g.op("Unsqueeze", boxes, batch),
            g.op("Unsqueeze", scores, classes),
            constant([most], torch.int64),
            constant([iou], torch.float32),
        )
        at = g.op("Gather", left, constant([2], torch.int64), axis_i=1)
        return g.op("Squeeze", at, constant([1], torch.int64))


def _best(scores: Tensor, worth: Tensor) -> Tensor:
    """Return where those are that are worth a look, best first."""
    at = worth.nonzero()[:, 0]
    return at[best_first(scores[at])]
