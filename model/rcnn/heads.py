"""From proposals to boxes: classified, moved, and those on one cell made one."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import nms

#: torchvision's own least side of a box.
LEAST_BOX_PX = 1e-2

Boxes = tuple[Tensor, Tensor, Tensor]


def classify(
    heads: RoIHeads, regions: Tensor, described: Tensor, limits: Tensor, vote_iou: float
) -> Boxes:
    """Return the boxes of one image as torchvision finds them, but for the votes.

    Boxes below the score threshold are left out before any is decoded or compared, and NMS runs
    within each class (torchvision may shift the classes apart and run it over all). The cap on
    boxes is for ``model.rcnn.detecting.as_detections``: refined, two may still come to one cell.

    Parameters
    ----------
    regions, described
        Shapes (N, 4), in pixels, and (N, features): what the box head makes of each.
    limits
        Shape (2,): width and height of the image.
    vote_iou
        See :func:`voted`; 0: a box stays as it was found.

    Returns
    -------
    Boxes (M, 4) in pixels, scores (M,) descending, labels (M,) from 0 on.
    """
    logits, moves = heads.box_predictor(described)
    scores = logits.softmax(dim=1)
    found = []
    for label in range(1, logits.shape[1]):
        of_class = scores[:, label]
        at = (of_class > heads.score_thresh).nonzero()[:, 0]
        deltas = moves[:, 4 * label : 4 * label + 4][at]
        boxes = clip(heads.box_coder.decode_single(deltas, regions[at]), limits)
        boxes, best = of_size(LEAST_BOX_PX, boxes, of_class[at])
        alone = nms(boxes, best, heads.nms_thresh)
        kept = voted(boxes[alone], boxes, best, vote_iou) if vote_iou else boxes[alone]
        # Rounding may have led a mean of edges at the image's own out of it.
        found.append((clip(kept, limits), best[alone], torch.full_like(alone, label - 1)))
    boxes, best, labels = (torch.cat(part) for part in zip(*found, strict=True))
    order = best_first(best)
    return boxes[order], best[order], labels[order]


def voted(kept: Tensor, boxes: Tensor, scores: Tensor, vote_iou: float) -> Tensor:
    """Return each kept box as the mean of the boxes about it (Gidaris and Komodakis 2015).

    The weight of a box is its score times how far its IoU with the kept one is above ``vote_iou``.
    It grows from 0 without a jump, so that two engines, which round otherwise, agree.

    Parameters
    ----------
    kept, boxes
        Shapes (K, 4) and (N, 4): those that NMS left, and all of the class.
    scores
        Shape (N,).
    """
    weights = (overlaps(kept, boxes) - vote_iou).clamp(min=0) * scores
    mean: Tensor = weights @ boxes / weights.sum(dim=1, keepdim=True)
    return mean


def apart(boxes: Tensor, scores: Tensor, labels: Tensor, classes: int, nms_iou: float) -> Boxes:
    """Return boxes without those that a better one of their class overlaps (NMS), best first.

    Parameters
    ----------
    boxes, scores, labels
        Shapes (N, 4), (N,) and (N,).
    classes
        How many there are.
    nms_iou
        IoU above which the lesser of two boxes goes.
    """
    of_classes = [(labels == label).nonzero()[:, 0] for label in range(classes)]
    kept = torch.cat([at[nms(boxes[at], scores[at], nms_iou)] for at in of_classes])
    kept = kept[best_first(scores[kept])]
    return boxes[kept], scores[kept], labels[kept]


def overlaps(some: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of each box with each other, shape (K, N).

    torchvision's own reduces a last axis of two, at which onnxruntime is slow.
    """
    left, top, right, bottom = some[:, :, None].unbind(1)
    other_left, other_top, other_right, other_bottom = others.unbind(1)
    wide = torch.minimum(right, other_right) - torch.maximum(left, other_left)
    high = torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)
    shared = wide.clamp(min=0) * high.clamp(min=0)
    areas = (right - left) * (bottom - top)
    other_areas = (other_right - other_left) * (other_bottom - other_top)
    return shared / (areas + other_areas - shared)


def best_first(scores: Tensor) -> Tensor:
    """Return the order of descending scores, equal ones in the order given; shape (N,).

    ONNX sorts stably by itself, and PyTorch's exporter does not know the argument.
    """
    if torch.onnx.is_in_onnx_export():
        return scores.argsort(descending=True)
    return scores.argsort(descending=True, stable=True)


def clip(boxes: Tensor, limits: Tensor) -> Tensor:
    """Return boxes, shape (N, 4), clipped to an image of a width and a height, shape (2,)."""
    corners = boxes.reshape(-1, 2, 2).clamp(min=0)
    return torch.minimum(corners, limits).reshape(-1, 4)


def of_size(least_px: float, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boxes without a side below ``least_px``, and their scores."""
    large = large_enough(boxes, least_px)
    return boxes[large], scores[large]


def large_enough(boxes: Tensor, least_px: float = LEAST_BOX_PX) -> Tensor:
    """Say which boxes have no side below ``least_px``, shape (N,)."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= least_px).all(dim=1)
