from collections import OrderedDict

import pytest
import torch

from model.config import DetectorConfig
from model.detector import build
from model.pooling import Descriptions

HEIGHT, WIDTH = 256, 320
SIDES = {"tiny": (0.01, 4), "small": (8, 50), "larger": (50, 90), "large": (90, 320)}


@pytest.fixture(scope="module")
def heads():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = DetectorConfig(anchor_sizes=(12.0, 20.0, 28.0, 40.0), scale=1.0, head_features=32)
        return build(config, ("Nucleus",)).eval().roi_heads


@pytest.fixture(scope="module")
def maps():
    noise = torch.Generator().manual_seed(0)
    return [torch.randn(1, 64, HEIGHT // s, WIDTH // s, generator=noise) for s in (8, 16)]


def regions_of(least, most, number=60):
    """Regions of these sides, many of them cut by the border."""
    chance = torch.Generator().manual_seed(1)
    limits = torch.tensor([WIDTH, HEIGHT], dtype=torch.float32)
    centres = torch.rand(number, 2, generator=chance) * limits
    sides = least + torch.rand(number, 2, generator=chance) * (most - least)
    corners = torch.stack([centres - sides / 2, centres + sides / 2], dim=1).clamp(min=0)
    return torch.minimum(corners, limits).view(-1, 4)


@torch.inference_mode()
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_regions_are_described_as_torchvision_does(sides, heads, maps):
    regions = regions_of(*sides)
    named = OrderedDict(zip("01", maps, strict=True))
    expected = heads.box_head(heads.box_roi_pool(named, [regions], [(HEIGHT, WIDTH)]))
    order, described = Descriptions(heads, heads.box_head)(maps, regions)
    assert sorted(order.tolist()) == list(range(len(regions)))
    assert torch.allclose(described, expected[order], atol=1e-4)


@torch.inference_mode()
def test_no_regions_have_no_descriptions(heads, maps):
    order, described = Descriptions(heads, heads.box_head)(maps, torch.zeros(0, 4))
    assert order.shape == (0,)
    assert described.shape == (0, 32)
