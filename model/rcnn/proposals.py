"""What a detector takes for cells at first: the proposals of its RPN, for both engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import nms

from model.config import DetectorConfig
from model.rcnn.heads import best_first, clip, of_size

#: Objectness from which a proposal is more likely a cell than not. What a cap cuts below it is not
#: reported: a young detector has thousands of faint proposals in every image.
LIKELY = 0.5
# torchvision's own least side of a proposal.
_LEAST_PX = 1e-3


def propose(
    rpn: RegionProposalNetwork,
    config: DetectorConfig,
    maps: Sequence[Tensor],
    padded: Sequence[int],
    limits: Tensor,
    floor: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the proposals of one image, best first.

    The best ``rpn_post_nms`` are taken. In a crowded image several lie on each cell, so that others
    would have none: of the rest those are taken too that are likely cells and on which no better
    proposal lies.

    Unlike torchvision, this leaves out those below the floor before any is sorted, decoded or
    compared, keeps equal ones in the order of the anchors (a young RPN has many), and reports what
    caps cut.

    Parameters
    ----------
    maps
        Of the backbone, each of shape (1, channels, H, W).
    padded
        Height and width of the image as the backbone saw it.
    limits
        Shape (2,): width and height of the image without its padding.
    floor
        Objectness below which a proposal is not looked at; no shape.

    Returns
    -------
    Shape (N, 4), in pixels; and shape (2,): whether ``rpn_pre_nms``, and ``rpn_post_nms`` with
    ``rpn_crowded``, cut likely cells.
    """
    objectness, deltas = rpn.head(maps)
    kept, kept_scores, cut_before, cut_after = [], [], [], []
    usual, most = config.rpn_post_nms, config.rpn_crowded * config.rpn_post_nms
    for anchors, logits, moves in zip(_anchors(rpn, maps, padded), objectness, deltas, strict=True):
        logits = logits[0].permute(1, 2, 0).reshape(-1)
        scores = logits.sigmoid()
        likely = _likely(scores)
        room = likely.clamp(config.rpn_pre_nms, config.rpn_crowded * config.rpn_pre_nms)
        cut_before.append(likely > room)
        # Logits still differ where scores are all 1.
        at = _best(logits, scores >= floor)[:room]
        moves = moves[0].permute(1, 2, 0).reshape(-1, 4)
        boxes = clip(rpn.box_coder.decode_single(moves[at], anchors[at]), limits)
        boxes, best = of_size(_LEAST_PX, boxes, scores[at])
        # One more than there is room for shows that some were cut.
        alone = Alone.apply(boxes, best, config.rpn_nms_iou, likely.clamp(usual, most) + 1)
        cut_after.append(_likely(best[alone]) > most)
        kept.append(boxes[alone])
        kept_scores.append(best[alone])
    scores = torch.cat(kept_scores)
    order = best_first(scores)
    boxes, scores = torch.cat(kept)[order], scores[order]
    further = _places_beyond(usual, boxes, scores, config.nms_iou)
    cut_after.append(_likely(scores[further]) > most - usual)
    taken = torch.cat([boxes[:usual], boxes[further[: most - usual]]])
    return taken, torch.stack([torch.stack(cut).any() for cut in (cut_before, cut_after)])


def _places_beyond(usual: int, boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Return the indices of proposals beyond the usual number on which no better one lies.

    Parameters
    ----------
    boxes, scores
        Shapes (N, 4) and (N,), best first; only likely cells are looked for.
    iou
        Above which two proposals are on one cell.
    """
    likely = _likely(scores)
    crowd = torch.where(likely > usual, likely, torch.zeros_like(likely))
    places = Alone.apply(boxes[:crowd], scores[:crowd], iou, crowd)
    beyond: Tensor = places[places >= usual]
    return beyond


def _likely(scores: Tensor) -> Tensor:
    """Return how many of the scores are likely cells'; no shape."""
    return (scores >= LIKELY).sum()


def _anchors(
    rpn: RegionProposalNetwork, maps: Sequence[Tensor], padded: Sequence[int]
) -> list[Tensor]:
    generator = rpn.anchor_generator
    grids = [level.shape[2:] for level in maps]
    strides = [[side // cells for side, cells in zip(padded, g, strict=True)] for g in grids]
    generator.set_cell_anchors(maps[0].dtype, maps[0].device)
    anchors: list[Tensor] = generator.grid_anchors(grids, strides)
    return anchors


class Alone(torch.autograd.Function):
    """NMS, of boxes that come best first, that ends with the last box that can be kept.

    torchvision's has no limit, nor is it exported with one, and compares each box with all that are
    kept so far.
    """

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou: float, most: Tensor) -> Tensor:
        room = int(most)
        best = 2 * room
        # What is kept of the best does not change with those behind them.
        while len(alone := nms(boxes[:best], scores[:best], iou)) < room and best < len(boxes):
            best *= 2
        kept: Tensor = alone[:room]
        return kept

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou: float, most: Any) -> Any:
        def constant(value: Sequence[float], dtype: torch.dtype) -> Any:
            return g.op("Constant", value_t=torch.tensor(value, dtype=dtype))

        batch, classes = constant([0], torch.int64), constant([0, 1], torch.int64)
        left = g.op(
            "NonMaxSuppression",
            g.op("Unsqueeze", boxes, batch),
            g.op("Unsqueeze", scores, classes),
            g.op("Unsqueeze", most, batch),
            constant([iou], torch.float32),
        )
        at = g.op("Gather", left, constant([2], torch.int64), axis_i=1)
        return g.op("Squeeze", at, constant([1], torch.int64))


def _best(scores: Tensor, worth: Tensor) -> Tensor:
    """Return the indices of the scores that are worth a look, shape (N,) of bool; best first."""
    at = worth.nonzero()[:, 0]
    return at[best_first(scores[at])]
