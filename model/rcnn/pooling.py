"""Regions pooled by matrices, which is quicker on a CPU than torchvision's RoIAlign."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import initLevelMapper

#: Bins of a region, across and down, and samples in each.
BINS, SAMPLES = 7, 2
#: Cells of a map, across and down, that regions are pooled from by matrices. Larger regions are
#: left to RoIAlign: their windows would take too much memory (docs/speed.md).
WINDOWS = (6, 8, 10, 13, 16)


class RegionPool(MultiScaleRoIAlign):  # type: ignore[misc]
    """torchvision's RoIAlign (He et al. 2017) over several maps of given scales.

    RoIAlign is linear in the map, and separable: a region's bins are a matrix for its rows and one
    for its columns times the window of the map that it lies in. On a CPU that takes a sixth of
    RoIAlign's time in training, where its gradient is added up number by number, and half of it in
    onnxruntime.

    Parameters
    ----------
    strides
        Of the maps, ascending. Without them torchvision infers the scales from the first image it
        sees and keeps them: a first image of a few pixels, which padding makes much larger, would
        spoil all that follow.
    """

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__([str(i) for i in range(len(strides))], BINS, sampling_ratio=SAMPLES)
        self.scales = [1 / stride for stride in strides]
        finest, coarsest = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
        self.map_levels = initLevelMapper(finest, coarsest)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Return the bins of the regions of all images, shape (N, channels, BINS, BINS).

        Parameters
        ----------
        x
            The maps by name.
        boxes
            The regions of each image, shape (M, 4), in pixels.
        image_shapes
            Height and width of each image; unused, since the scales are known.
        """
        maps = [x[name] for name in self.featmap_names]
        if maps[0].is_cuda:
            pooled: Tensor = super().forward(x, boxes, image_shapes)
            return pooled
        order, parts = zip(*self.parts(maps, boxes), strict=True)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def parts(
        self, maps: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the indices of the regions of one map and size, and their bins.

        Parameters
        ----------
        maps
            Finest first; more than are pooled from may be given.
        boxes
            The regions of each image, shape (M, 4), in pixels; indices count on from one image to
            the next.
        """
        regions = torch.cat(list(boxes))
        of_image = [torch.full_like(own[:, 0], i) for i, own in enumerate(boxes)]
        images, levels = torch.cat(of_image), self.map_levels(boxes)
        for level, (features, scale) in enumerate(zip(maps, self.scales, strict=False)):
            at = (levels == level).nonzero()[:, 0]
            for here, pooled in _by_size(features, regions[at] * scale, images[at]):
                yield at[here], pooled


class Descriptions(nn.Module):
    """What a head makes of one image's regions, in the order in which they are pooled.

    Parameters
    ----------
    heads
        Of ``model.rcnn.detector.build``: their pooling is used.
    head
        Describes a region by its bins.
    """

    def __init__(self, heads: RoIHeads, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.pool = heads.box_roi_pool

    def forward(self, maps: Sequence[Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Return the order in which regions were taken, shape (N,), and (N, features) in it."""
        parts = [(here, self.head(bins)) for here, bins in self.pool.parts(maps, [proposals])]
        order, described = zip(*parts, strict=True)
        return torch.cat(order), torch.cat(described)


def _by_size(features: Tensor, regions: Tensor, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the indices of the regions of one size, and their bins.

    Parameters
    ----------
    features
        Shape (images, channels, height, width).
    regions
        Shape (N, 4), in cells of the map.
    images
        Shape (N,): index of the image that each lies in.
    """
    sides = (regions[:, 2:] - regions[:, :2]).amax(dim=1)
    samples = BINS * SAMPLES
    least = torch.zeros(())
    for window in WINDOWS:
        # From the first sample to the last, and a cell beyond each.
        most = torch.as_tensor((window - 2) * samples / (samples - 1))
        here = ((sides >= least) & (sides < most)).nonzero()[:, 0]
        yield here, _from_windows(features, regions[here], images[here], window)
        least = most
    here = (sides >= least).nonzero()[:, 0]
    rois = torch.cat([images[here, None], regions[here]], dim=1)
    yield here, roi_align(features, rois, BINS, 1.0, SAMPLES)


def _from_windows(features: Tensor, regions: Tensor, images: Tensor, window: int) -> Tensor:
    height, width = (torch.as_tensor(side) for side in features.shape[2:])
    across, columns = _weights(regions[:, 0::2], width, window)
    down, rows = _weights(regions[:, 1::2], height, window)
    channels = features.shape[1]
    cells = features.permute(0, 2, 3, 1).flatten(end_dim=2)
    rows = rows + images[:, None].long() * height
    at = rows[:, :, None] * width + columns[:, None, :]
    windows = cells.index_select(0, at.flatten())
    by_row = down @ windows.view(-1, window, window * channels)
    pooled = across[:, None] @ by_row.view(-1, BINS, window, channels)
    return pooled.permute(0, 3, 1, 2)


def _weights(edges: Tensor, cells: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return how much each cell of a window weighs in each bin, and which cells they are.

    Parameters
    ----------
    edges
        Shape (N, 2): where regions begin and end along one side of the map, in cells.
    cells
        How many the map has along that side.

    Returns
    -------
    Shapes (N, bins, window) and (N, window).
    """
    samples = BINS * SAMPLES
    size = (edges[:, 1:] - edges[:, :1]).clamp(min=1)
    at = edges[:, :1] + (torch.arange(samples) + 0.5) / samples * size
    inside = (at <= cells).to(at.dtype)
    at = torch.minimum(at, cells - 1.0)
    places = at[:, :1].floor() + torch.arange(window)
    # Between two cells each counts the more, the nearer it is.
    near = relu(1 - (at[:, :, None] - places[:, None, :]).abs()) * inside[:, :, None]
    weights = near.view(-1, BINS, SAMPLES, window).mean(dim=2)
    return weights, torch.minimum(places, cells - 1.0).long()
