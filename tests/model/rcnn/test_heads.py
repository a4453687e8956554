import pytest
import torch
from torchvision.ops import box_iou

from model.rcnn.heads import overlaps, voted

EXACT = torch.tensor([[10.0, 10.0, 30.0, 30.0], [60.0, 10.0, 90.0, 40.0]])


def test_boxes_about_one_cell_agree_better_than_the_best_of_them():
    around = torch.Generator().manual_seed(0)
    near = EXACT.repeat(40, 1) + torch.randn(80, 4, generator=around) * 1.5
    scores = torch.rand(80, generator=around)
    best = torch.stack([scores[place::2].argmax() * 2 + place for place in (0, 1)])
    before, after = (
        box_iou(boxes, EXACT).diag() for boxes in (near[best], voted(near[best], near, scores, 0.5))
    )
    assert (after > before).all()
    assert (after > 0.92).all()


def test_a_box_that_is_alone_or_of_another_cell_moves_nothing():
    touching = torch.tensor([[10.0, 10.0, 30.0, 30.0], [25.0, 10.0, 45.0, 30.0]])
    found = voted(touching, touching, torch.tensor([0.9, 0.8]), 0.5)
    assert torch.equal(found, touching)


def test_a_vote_grows_from_nothing_so_that_rounding_decides_no_box():
    kept = EXACT[:1]
    overlap = 20.0 * torch.tensor([0.4999, 0.5001])
    for width in overlap:
        other = torch.tensor([[10.0, 10.0, 10.0 + float(width), 30.0]])
        found = voted(kept, torch.cat([kept, other]), torch.tensor([0.9, 0.9]), 0.5)
        assert found[0].tolist() == pytest.approx(EXACT[0].tolist(), abs=0.01)


def test_where_nothing_was_found_there_is_nothing_to_vote():
    assert voted(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0), 0.5).shape == (0, 4)


def test_overlaps_are_those_of_torchvision():
    corners = torch.rand(50, 2, 2, generator=torch.Generator().manual_seed(0)) * 30
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    assert torch.allclose(overlaps(boxes[:20], boxes), box_iou(boxes[:20], boxes), atol=1e-6)
