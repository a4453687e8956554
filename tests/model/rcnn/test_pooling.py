from collections import OrderedDict

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from model.config import DetectorConfig
from model.rcnn.detector import build
from model.rcnn.pooling import Descriptions, RegionPool

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


@pytest.fixture(scope="module")
def pool():
    return RegionPool([8, 16])


def torchvisions(pool):
    """torchvision's own pooling of the same maps, whose scales it infers."""
    return MultiScaleRoIAlign(pool.featmap_names, pool.output_size, pool.sampling_ratio)


@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_regions_of_several_images_are_pooled_and_taught_as_by_torchvision(sides, pool, maps):
    two = [torch.cat([features, features.flip(2)]) for features in maps]
    taught = [features.requires_grad_() for features in two]
    named, shapes = OrderedDict(zip("01", taught, strict=True)), [(HEIGHT, WIDTH)] * 2
    regions = [regions_of(*sides), regions_of(*sides, number=7)]
    expected = torchvisions(pool)(named, regions, shapes)
    found = pool(named, regions, shapes)
    assert torch.allclose(found, expected, atol=1e-4)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    told = torch.autograd.grad((expected * weights).sum(), taught, allow_unused=True)
    learned = torch.autograd.grad((found * weights).sum(), taught)
    for ours, theirs in zip(learned, told, strict=True):
        assert torch.allclose(ours, torch.zeros(()) if theirs is None else theirs, atol=1e-3)


def test_images_without_a_region_have_no_bins(pool, maps):
    named, none = OrderedDict(zip("01", maps, strict=True)), torch.zeros(0, 4)
    assert pool(named, [none], [(HEIGHT, WIDTH)]).shape == (0, 64, 7, 7)


@torch.inference_mode()
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_a_head_describes_regions_in_the_order_they_are_pooled_in(sides, heads, maps):
    regions = regions_of(*sides)
    named = OrderedDict(zip("01", maps, strict=True))
    expected = heads.box_head(torchvisions(heads.box_roi_pool)(named, [regions], [(HEIGHT, WIDTH)]))
    order, described = Descriptions(heads, heads.box_head)(maps, regions)
    assert sorted(order.tolist()) == list(range(len(regions)))
    assert torch.allclose(described, expected[order], atol=1e-4)


@torch.inference_mode()
def test_no_regions_have_no_descriptions(heads, maps):
    order, described = Descriptions(heads, heads.box_head)(maps, torch.zeros(0, 4))
    assert order.shape == (0,)
    assert described.shape == (0, 32)
