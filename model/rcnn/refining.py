"""Boxes that are found, refined: a head of its own looks at the edges of each.

The box head learns to move all regions, also those that hardly overlap a cell, and classifies them.
A box that it has moved lies closer to its cell than most of what it learned from. How far such a
box is still off is learned by a second head, from boxes as close (Cascade R-CNN, Cai and
Vasconcelos 2018; here for all classes alike, and from true boxes moved at random).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads

from model.rcnn.cut import whole
from model.rcnn.heads import Boxes, apart, clip, large_enough
from model.rcnn.sampling import SamplingHeads

#: Boxes that it learns from, of each image with cells.
BOXES = 64
#: How far these are off their cells, standard deviations at the most: of the centre, as a part of
#: the box's sides, and of the logarithm of the sides.
MOVED_BY, SIZED_BY = 0.13, 0.19
#: IoU above which two boxes of a class have come to one cell. At that of NMS two cells that touch
#: are taken for one: AP50 was 0.005 lower by three of four versions (Usiigaci, BCCD).
DOUBLED = 0.6
#: Weights of the movements that are learned: twice the box head's, since these are smaller.
_WEIGHTS = (20.0, 20.0, 10.0, 10.0)
#: Where the smooth L1 loss becomes linear, as torchvision's box head has it.
_BETA = 1 / 9

Features = dict[str, Tensor]
Shapes = Sequence[tuple[int, int]]


class Refiner(nn.Module):
    """Predicts how far a box is still off its cell.

    Parameters
    ----------
    head
        Describes a box by its bins, as the box head describes a region.
    features
        How many figures describe it.
    """

    def __init__(self, head: TwoMLPHead, features: int) -> None:
        super().__init__()
        self.head = head
        self.move = nn.Linear(features, 4)
        # Untaught, it leaves a box where it is.
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)
        self.coder = BoxCoder(_WEIGHTS)

    def moved(self, boxes: Tensor, described: Tensor, limits: Tensor) -> Tensor:
        """Return boxes, shape (N, 4), closer about their cells.

        Parameters
        ----------
        described
            Shape (N, features): what ``head`` makes of each.
        limits
            Shape (2,): width and height of the image.
        """
        moved = clip(self.coder.decode_single(self.move(described), boxes), limits)
        return torch.where(large_enough(moved)[:, None], moved, boxes)

    def loss(
        self, heads: RoIHeads, features: Features, shapes: Shapes, truth: Sequence[Tensor]
    ) -> Tensor:
        """Return how far off it leaves boxes drawn near the true ones; the mean over the images.

        Parameters
        ----------
        heads
            Their pooling is shared.
        features, shapes
            The maps by name, and height and width of each image.
        truth
            The true boxes of each image, shape (M, 4).
        """
        cells = [boxes[_drawn(len(boxes), boxes.device)].to(torch.float32) for boxes in truth]
        near = [_near(of_image, *shape) for of_image, shape in zip(cells, shapes, strict=True)]
        found = self.move(self.head(heads.box_roi_pool(features, near, list(shapes))))
        wanted = torch.cat(self.coder.encode(cells, near))
        off = smooth_l1_loss(found, wanted, beta=_BETA, reduction="sum")
        return off / (BOXES * len(truth))


def refined(
    heads: RefiningHeads, found: Boxes, limits: Tensor, describe: Callable[[Tensor], Tensor]
) -> Boxes:
    """Return the boxes of one image closer about their cells, best first.

    Of those that come to one cell thereby only the best is kept.

    Parameters
    ----------
    found
        From ``model.rcnn.heads.classify``.
    describe
        Gives what the refiner's head makes of each box.
    """
    boxes, scores, labels = found
    closer = heads.refiner.moved(boxes, describe(boxes), limits)
    classes = heads.box_predictor.cls_score.out_features - 1
    return apart(closer, scores, labels, classes, DOUBLED)


class RefiningHeads(SamplingHeads):
    """The heads, and a refiner that learns beside them."""

    refiner: Refiner

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        found, losses = super().forward(features, proposals, image_shapes, targets)
        if targets is not None and self.training:
            truth = [whole(target)["boxes"] for target in targets]
            losses["loss_refiner"] = self.refiner.loss(self, features, image_shapes, truth)
        return found, losses


def _drawn(cells: int, device: torch.device) -> Tensor:
    """Return the indices of the cells of an image that it learns from, few of them repeatedly."""
    return torch.randint(max(1, cells), (BOXES if cells else 0,), device=device)


def _near(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return boxes moved and resized at random within an image, some hardly, some by much."""
    sides = boxes[:, 2:] - boxes[:, :2]
    far = torch.rand_like(sides[:, :1])
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2 + MOVED_BY * far * sides * torch.randn_like(sides)
    half = sides / 2 * (SIZED_BY * far * torch.randn_like(sides)).exp()
    limits = torch.tensor([width, height], dtype=boxes.dtype, device=boxes.device)
    moved = clip(torch.cat([centres - half, centres + half], dim=1), limits)
    return torch.where(large_enough(moved)[:, None], moved, boxes)
