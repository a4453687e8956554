"""A starter with half of MobileNetV2's hidden channels: `python -m benchmarks.starter.halving`.

A block widens its channels, filters each by itself, and is linear in the results. Which of them can
be spared, and what weights the others then need, is solved by least squares: in windows of the
teaching images the narrow block is to give what the wide one gave. Half of the first layer's
filters look for colours, and see little in grey.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR, TRAINING, examples_for
from model.boxes import CELL
from model.keeping.version_folder import WEIGHTS
from model.rcnn.detector import DEVIATION, MEAN, build
from model.rcnn.weights import save_weights
from model.training.batches import Batches

WIDE = replace(DETECTOR, backbone="mbv2_64")
#: Windows that blocks are compared in, and how many places of their maps.
WINDOWS, PLACES = 64, 60_000
#: Added to the channels' squares, as a share of their mean, so that equal channels can be solved.
_RIDGE = 1e-6


@torch.no_grad()
def halve(wide: FasterRCNN, windows: Tensor) -> FasterRCNN:
    """Return a detector of half the hidden channels that sees nearly the same.

    Parameters
    ----------
    wide
        Of :data:`WIDE`.
    windows
        That the blocks are compared in, as a backbone sees them: shape (N, 1, H, W).
    """
    narrow = build(DETECTOR, (CELL,))
    own = {n: t for n, t in wide.state_dict().items() if not n.startswith("backbone.body.")}
    narrow.load_state_dict(own, strict=False)
    (stem, *blocks), (narrow_stem, *narrow_blocks) = (
        list(module.eval().backbone.body.values()) for module in (wide, narrow)
    )
    before = now = stem(windows)
    for block, slim in zip(blocks, narrow_blocks, strict=True):
        first = slim is narrow_blocks[0]
        after, hidden = block(before), block.conv[:-2](now)
        kept = _fit(slim, hidden, after - now if slim.use_res_connect else after)
        # The first block does not widen: its hidden channels are the first layer's.
        _take(narrow_stem if first else slim.conv[0], stem if first else block.conv[0], kept)
        _take(slim.conv[-3], block.conv[-3], kept)
        before, now = after, slim(narrow_stem(windows) if first else now)
    return narrow


def windows_of(sets: Sequence[str]) -> Tensor:
    """Return varied windows of teaching images and generated fields, as a backbone sees them."""
    training = replace(TRAINING, batch=WINDOWS)
    side = training.crop_px
    windows = torch.full((WINDOWS, 1, side, side), MEAN)
    for window, example in zip(windows, Batches(examples_for(sets), training)[0], strict=True):
        pixels = torch.from_numpy(example.pixels[:side, :side].astype(np.float32))
        window[0, : pixels.shape[0], : pixels.shape[1]] = pixels
    return (windows - MEAN) / DEVIATION


def _fit(block: nn.Module, hidden: Tensor, wanted: Tensor) -> list[int]:
    """Fit a block's projection to what is wanted; return the hidden channels that it takes."""
    places = torch.from_numpy(
        np.random.default_rng(0).permutation(hidden[:, 0].numel())[:PLACES].copy()
    )
    given, wanted = (m.transpose(0, 1).flatten(1)[:, places].double().T for m in (hidden, wanted))
    projection, norm = block.conv[-2:]  # type: ignore[index]
    kept, weights, offset = fewer(given, wanted, projection.in_channels)
    projected = given[:, kept] @ weights
    mean, variance = projected.mean(dim=0), projected.var(dim=0)
    projection.weight.copy_(weights.T[:, :, None, None])
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(offset + mean)
    return kept


def fewer(given: Tensor, wanted: Tensor, number: int) -> tuple[list[int], Tensor, Tensor]:
    """Return columns from which what is wanted follows best, leaving out one after another.

    The one that the others replace best goes first.

    Parameters
    ----------
    given, wanted
        Shapes (N, K) and (N, M), float64.
    number
        How many columns of ``given`` stay.

    Returns
    -------
    The columns; their weights, shape (number, M); the offset, shape (M,).
    """
    centre, aim = given.mean(dim=0), wanted.mean(dim=0)
    squares = (given - centre).T @ (given - centre)
    squares += _RIDGE * squares.diagonal().mean() * torch.eye(len(squares))
    products = (given - centre).T @ (wanted - aim)
    kept, inverse = list(range(given.shape[1])), torch.linalg.inv(squares)
    weights = inverse @ products
    while len(kept) > number:
        out = int((weights.square().sum(dim=1) / inverse.diagonal()).argmin())
        others = torch.arange(len(kept)) != out
        share = inverse[others, out] / inverse[out, out]
        weights = weights[others] - torch.outer(share, weights[out])
        inverse = inverse[others][:, others] - torch.outer(share, inverse[out, others])
        kept.pop(out)
    return kept, weights, aim - centre[kept] @ weights


def _take(layer: nn.Module, wide: nn.Module, kept: list[int]) -> None:
    """Take over these channels of a convolution and its BatchNorm."""
    own = layer.state_dict()
    given = wide.state_dict()
    layer.load_state_dict({n: given[n][kept] if t.ndim else given[n] for n, t in own.items()})


def main() -> None:
    """Halve a starter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an earlier starter's, of mbv2_64")
    parser.add_argument("--out", type=Path, required=True, help="folder of the narrow one")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, help="it has seen")
    options = parser.parse_args()
    wide = build(WIDE, (CELL,))
    wide.load_state_dict(load_file(options.folder / WEIGHTS))
    options.out.mkdir(parents=True, exist_ok=True)
    print(save_weights(halve(wide, windows_of(options.sets)), options.out / WEIGHTS))


if __name__ == "__main__":
    main()
