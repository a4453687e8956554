"""Regions pooled and described, in operations over which onnxruntime is quick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import roi_align

#: Cells of a map, across and down, that regions are pooled from by matrices; larger regions are
#: left to RoIAlign, which takes onnxruntime longer.
WINDOWS = (8, 12)


class Descriptions(nn.Module):
    """What a head makes of regions, pooled level by level.

    RoIAlign is linear in the map and the same across as down: a region's bins are two matrices
    times the window of the map that it lies in.

    Parameters
    ----------
    heads
        Of ``model.detector.build``, whose pooling it is.
    head
        What describes a region by its bins.
    """

    def __init__(self, heads: RoIHeads, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.pool = heads.box_roi_pool
        self.bins: int = self.pool.output_size[0]

    def forward(self, maps: Sequence[Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Return in which order regions were taken, shape (N,), and what is said of each."""
        order, described = [], []
        levels = self.pool.map_levels([proposals])
        for level, (features, scale) in enumerate(zip(maps, self.pool.scales, strict=False)):
            at = (levels == level).nonzero()[:, 0]
            for here, pooled in self._pooled(features, scale, proposals[at]):
                order.append(at[here])
                described.append(self.head(pooled))
        return torch.cat(order), torch.cat(described)

    def _pooled(
        self, features: Tensor, scale: float, regions: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield which regions are of a size, and their bins, shape (N, channels, bins, bins)."""
        sides = (regions[:, 2:] - regions[:, :2]).amax(dim=1) * scale
        samples = self.bins * self.pool.sampling_ratio
        least = torch.zeros(())
        for window in WINDOWS:
            # From the first sample to the last, and a cell beyond each.
            most = torch.as_tensor((window - 2) * samples / (samples - 1))
            here = ((sides >= least) & (sides < most)).nonzero()[:, 0]
            yield here, self._from_windows(features, regions[here] * scale, window)
            least = most
        here = (sides >= least).nonzero()[:, 0]
        bins = self.pool.output_size
        yield here, roi_align(features, [regions[here]], bins, scale, self.pool.sampling_ratio)

    def _from_windows(self, features: Tensor, regions: Tensor, window: int) -> Tensor:
        height, width = (torch.as_tensor(side) for side in features.shape[2:])
        across, columns = self._weights(regions[:, 0::2], width, window)
        down, rows = self._weights(regions[:, 1::2], height, window)
        channels = features.shape[1]
        cells = features[0].flatten(start_dim=1).t()
        windows = cells[rows[:, :, None] * width + columns[:, None, :]]
        by_row = windows.view(-1, window, window * channels).transpose(1, 2) @ down
        pooled = by_row.view(-1, window, channels * self.bins).transpose(1, 2) @ across
        return pooled.view(-1, channels, self.bins, self.bins)

    def _weights(self, edges: Tensor, cells: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Return how much each cell of a window weighs in each bin, and which cells they are.

        Parameters
        ----------
        edges
            Shape (N, 2): where regions begin and end along one side of the map, in cells.
        cells
            How many the map has along that side.

        Returns
        -------
        Shapes (N, window, bins) and (N, window).
        """
        samples = self.bins * self.pool.sampling_ratio
        size = (edges[:, 1:] - edges[:, :1]).clamp(min=1)
        at = edges[:, :1] + (torch.arange(samples) + 0.5) / samples * size
        inside = (at <= cells).to(at.dtype)
        at = torch.minimum(at, cells - 1.0)
        places = at[:, :1].floor() + torch.arange(window)
        # Between two cells each counts the more, the nearer it is.
        near = relu(1 - (at[:, :, None] - places[:, None, :]).abs()) * inside[:, :, None]
        weights = near.view(-1, self.bins, self.pool.sampling_ratio, window).mean(dim=2)
        return weights.transpose(1, 2), torch.minimum(places, cells - 1.0).long()
