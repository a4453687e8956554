from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.starter.examples import DETECTOR
from benchmarks.starter.halving import WIDE, fewer, halve
from model.boxes import CELL
from model.rcnn.detector import build


def test_columns_that_others_make_up_for_are_left_out() -> None:
    own = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = torch.cat([own, own[:, :2] @ torch.tensor([[1.0], [2.0]]).double()], dim=1)
    wanted = given @ torch.tensor([[1.0], [0.0], [1.0], [1.0]]).double() + 5
    kept, weights, offset = fewer(given, wanted, 3)
    assert 2 in kept
    assert torch.allclose(given[:, kept] @ weights + offset, wanted, atol=1e-3)


def twin(wide: nn.Module, narrow: nn.Module) -> None:
    """Let each hidden channel of the wide network stand there twice."""
    (stem, *blocks), (slim_stem, *slims) = (list(m.body.values()) for m in (wide, narrow))
    pairs = [(stem, slim_stem)]
    for block, slim in zip(blocks, slims, strict=True):
        pairs += list(zip(block.conv, slim.conv, strict=True))
    for each, half in pairs:
        given = half.state_dict()
        each.load_state_dict({n: doubled(given[n], t) for n, t in each.state_dict().items()})


def doubled(given: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Repeat what there is twice as much of; what reads channels twice weighs each half."""
    for dim, (have, want) in enumerate(zip(given.shape, own.shape, strict=True)):
        if have != want:
            given = torch.cat([given, given], dim) / (1 if dim == 0 else 2)
    return given


@pytest.mark.integration
@torch.no_grad()
def test_a_network_that_says_everything_twice_is_halved_without_loss() -> None:
    torch.manual_seed(0)
    wide = build(WIDE, (CELL,)).eval()
    twin(wide.backbone, build(DETECTOR, (CELL,)).backbone)
    windows = torch.randn(4, 1, 96, 96)
    halved = halve(wide, windows).eval().backbone(windows)
    for name, level in wide.backbone(windows).items():
        assert torch.allclose(halved[name], level, atol=1e-2 * float(level.abs().max()))
