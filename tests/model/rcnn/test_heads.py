import pytest
import torch
from torchvision.ops import box_iou

from model.config import DetectorConfig
from model.rcnn.detector import build
from model.rcnn.heads import apart, best_first, classify, overlaps, voted

EXACT = torch.tensor([[10.0, 10.0, 30.0, 30.0], [60.0, 10.0, 90.0, 40.0]])


@pytest.fixture(scope="module")
def described():
    """Heads of two classes, regions of an image of 128 × 96 of which some touch, and features."""
    draw = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        heads = build(DetectorConfig(scale=1.0, anchor_sizes=(12.0, 20.0)), ("A", "B")).roi_heads
    torch.nn.init.normal_(heads.box_predictor.cls_score.weight, std=0.1, generator=draw)
    torch.nn.init.normal_(heads.box_predictor.bbox_pred.weight, std=0.02, generator=draw)
    corners = torch.rand(300, 2, generator=draw) * torch.tensor([128.0, 96.0])
    sides = torch.rand(300, 2, generator=draw) * 30
    sides[:30, 0] = torch.linspace(0, 0.03, 30)
    features = torch.randn(300, heads.box_predictor.cls_score.in_features, generator=draw)
    return heads, torch.cat([corners - sides / 2, corners + sides / 2], dim=1), features


@torch.inference_mode()
def test_without_votes_boxes_scores_and_classes_are_those_of_torchvision(described):
    heads, regions, features = described
    heads.detections_per_img = 1000
    expected = heads.postprocess_detections(
        *heads.box_predictor(features), [regions], image_shapes=[(96, 128)]
    )
    limits = torch.tensor([128.0, 96.0])
    boxes, scores, labels = classify(heads, regions, features, limits, 0.0)
    assert len(boxes) > 100
    assert torch.allclose(boxes, expected[0][0], atol=1e-4)
    assert torch.allclose(scores, expected[1][0])
    assert torch.equal(labels + 1, expected[2][0])
    assert set(labels.tolist()) == {0, 1}
    votes, *same = classify(heads, regions, features, limits, 0.4)
    assert torch.equal(torch.stack(same), torch.stack([scores, labels]))
    assert 0 < (votes - boxes).abs().max() < 15
    assert votes.amin() >= 0
    assert (votes <= limits.repeat(2)).all()


def test_of_boxes_on_one_cell_the_best_of_each_class_stays():
    boxes = EXACT.repeat(1, 3).reshape(-1, 4)  # three on each of two cells
    scores, labels = torch.tensor([0.4, 0.9, 0.5, 0.6, 0.7, 0.3]), torch.tensor([0, 1, 1, 2, 2, 0])
    kept, best, of_class = apart(boxes, scores, labels, 3, 0.5)
    assert best.tolist() == pytest.approx([0.9, 0.7, 0.4, 0.3])
    assert of_class.tolist() == [1, 2, 0, 0]
    assert torch.equal(kept, EXACT[[0, 1, 0, 1]])


def test_boxes_of_equal_scores_keep_their_order():
    assert torch.equal(best_first(torch.ones(500)), torch.arange(500))


def test_in_a_vote_the_surer_box_weighs_more():
    left, right = EXACT[0], EXACT[0] + torch.tensor([2.0, 0.0, 2.0, 0.0])
    boxes = torch.stack([left, right])
    (found,) = voted(boxes[:1], boxes, torch.tensor([0.4, 0.9]), 0.5)
    (sure,) = voted(boxes[:1], boxes, torch.tensor([0.9, 0.4]), 0.5)
    assert left[0] < sure[0] < found[0] < right[0]


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
