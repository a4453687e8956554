from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from model.rcnn.detector import TorchDetector, build
from model.rcnn.export import export
from model.rcnn.heads import LEAST_BOX_PX
from model.rcnn.refining import BOXES, _near, refined
from model.rcnn.weights import InitialWeights, save_weights, start_from
from model.training.data import Example
from model.training.gradients import gradient
from preprocessing.prepare import Prepared
from tests.model.rcnn.test_detector import SMALL

LIMITS = torch.tensor([128.0, 96.0])


def refiner(moves=(0.0, 0.0, 0.0, 0.0)):
    """One that moves every box alike."""
    found = build(SMALL, ("Cell",)).roi_heads.refiner
    with torch.no_grad():
        found.move.bias.copy_(torch.tensor(moves))
    return found


def moved(boxes, *moves):
    boxes = torch.tensor(boxes)
    return refiner(moves or (0.0,) * 4).moved(boxes, torch.zeros(len(boxes), 256), LIMITS).tolist()


def test_untaught_it_leaves_boxes_where_they_are():
    boxes = [[10.0, 20.0, 30.0, 40.0], [0.0, 0.0, 128.0, 96.0]]
    assert moved(boxes) == boxes


def test_a_box_is_moved_by_parts_of_its_sides_and_stays_inside():
    small, large = moved([[10.0, 20.0, 30.0, 60.0], [100.0, 50.0, 120.0, 90.0]], 10.0, 10.0, 0, 0)
    assert small == pytest.approx([20, 40, 40, 80])
    assert large == pytest.approx([110, 70, 128, 96])


def test_a_box_that_would_be_nothing_stays_as_it_was():
    assert moved([[118.0, 20.0, 126.0, 40.0]], 40.0, 0, 0, 0) == [[118, 20, 126, 40]]


def test_no_boxes_are_none():
    assert refiner().moved(torch.zeros(0, 4), torch.zeros(0, 256), LIMITS).shape == (0, 4)


def test_it_learns_from_boxes_about_as_close_as_those_that_are_found():
    torch.manual_seed(0)
    cells = torch.tensor([[40.0, 30.0, 70.0, 60.0], [2.0, 2.0, 12.0, 40.0]]).repeat(500, 1)
    boxes = _near(cells, 96, 128)
    overlap = box_iou(boxes, cells).diag()
    assert overlap.min() > 0.3
    assert 0.7 < overlap.median() < 0.95
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 128).all()
    assert (boxes[:, 3] <= 96).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= LEAST_BOX_PX).all()


def maps():
    noise = torch.Generator().manual_seed(0)
    sides = zip("01", (8, 16), strict=True)
    return {name: torch.randn(2, 64, 96 // s, 128 // s, generator=noise) for name, s in sides}


def loss(*truth):
    torch.manual_seed(0)
    heads = build(SMALL, ("Cell",)).roi_heads
    with torch.no_grad():
        heads.refiner.move.weight.normal_(std=0.1)
    torch.manual_seed(1)
    seen = {name: features[: len(truth)] for name, features in maps().items()}
    return float(heads.refiner.loss(heads, seen, [(96, 128)] * len(truth), truth).detach())


def test_its_loss_is_that_of_images_with_cells_over_all():
    cells, none = torch.tensor([[40.0, 30.0, 70.0, 60.0]]), torch.zeros(0, 4)
    alone = loss(cells)
    assert alone > 0
    assert loss(cells, none) == pytest.approx(alone / 2)
    assert loss(none, none) == 0.0


def test_a_share_of_a_batch_without_a_cell_adds_nothing_to_its_gradient():
    heads = build(SMALL, ("Cell",)).roi_heads
    seen = {name: features[:1] for name, features in maps().items()}
    heads.refiner.loss(heads, seen, [(96, 128)], [torch.zeros(0, 4)]).backward()
    assert all(part.grad is not None for part in heads.refiner.parameters())
    assert not any(part.grad.any() for part in heads.refiner.parameters())


def test_it_learns_to_find_what_is_in_the_maps():
    torch.manual_seed(0)
    # The maps say nothing but where one cell begins and ends.
    heads = build(replace(SMALL, head_features=64), ("Cell",)).roi_heads
    cell = torch.tensor([[40.0, 24.0, 88.0, 72.0]])
    seen = {"0": torch.zeros(1, 64, 12, 16), "1": torch.zeros(1, 64, 6, 8)}
    seen["0"][:, :, 3:9, 5:11] = 1.0
    seen["1"][:, :, 2:4, 3:5] = 1.0
    optimiser = torch.optim.Adam(heads.refiner.parameters(), lr=3e-3)
    for _ in range(50):
        optimiser.zero_grad()
        heads.refiner.loss(heads, seen, [(96, 128)], [cell]).backward()
        optimiser.step()
    with torch.inference_mode():
        found = _near(cell.repeat(BOXES, 1), 96, 128)
        described = heads.refiner.head(heads.box_roi_pool(seen, [found], [(96, 128)]))
        closer = heads.refiner.moved(found, described, LIMITS)
    before, after = (box_iou(boxes, cell).mean() for boxes in (found, closer))
    assert after > before + 0.05


def test_a_training_teaches_it_and_a_detector_asks_it(monkeypatch):
    monkeypatch.setattr("model.rcnn.refining.DOUBLED", 1.0)  # so that no box takes away another
    config = replace(SMALL, nms_iou=1.0, proposal_floor=0.5)
    torch.manual_seed(0)
    module = build(config, ("Cell",))
    cells = np.array([[40, 30, 70, 60]], np.float32)
    example = Example(np.random.default_rng(0).random((96, 128), np.float32), cells, np.array([1]))
    gradient(module, [example], batch=1, at_once=1, seed=0, device=torch.device("cpu"))
    assert module.roi_heads.refiner.move.weight.grad.abs().sum() > 0
    image = Prepared(example.pixels, 1.0, "all", 0.0, (), 96, 128)
    (before,) = TorchDetector(module, config, ("Cell",), "cpu").detect([image])
    with torch.no_grad():
        module.roi_heads.refiner.move.bias[2:] = -5.0
    (after,) = TorchDetector(module, config, ("Cell",), "cpu").detect([image])
    sides = [found.xyxy_px[:, 2:] - found.xyxy_px[:, :2] for found in (before, after)]
    assert len(before) > 0
    assert sides[1] == pytest.approx(sides[0] * np.exp(-0.5), rel=1e-3)
    assert np.array_equal(before.scores, after.scores)


@pytest.mark.integration
@pytest.mark.parametrize("most", [40, 10_000])
def test_the_cap_on_boxes_cuts_those_that_are_left_and_is_told(tmp_path, most):
    # Boxes of a cell come to one: had the cap cut before that, fewer were left and nothing told.
    config = replace(SMALL, score_floor=0.0, detections_per_image=most)
    torch.manual_seed(0)
    module = build(config, ("A", "B"))
    with torch.no_grad():
        module.roi_heads.refiner.move.bias[2:] = 10.0
    detector = TorchDetector(module, config, ("A", "B"), "cpu")
    pixels = np.random.default_rng(0).random((96, 128), np.float32)
    image = Prepared(pixels, 1.0, "all", 0.0, (), 96, 128)
    exported = export(detector, tmp_path / "model.onnx", [image])
    for each in (detector, exported):
        (found,) = each.detect([image])
        assert ("detections_per_image" in found.caps_reached) == (most == 40)
        assert len(found) == 40 if most == 40 else 40 < len(found) < most


def test_from_weights_without_it_its_head_begins_as_the_box_head(tmp_path):
    plain, new = build(replace(SMALL, refined=False), ("Cell",)), build(SMALL, ("Cell",))
    start_from(new, InitialWeights(save_weights(plain, tmp_path / "plain"), ("Cell",)), ("Cell",))
    heads = new.roi_heads
    assert torch.equal(heads.refiner.head.fc6.weight, plain.roi_heads.box_head.fc6.weight)
    again = build(SMALL, ("Cell",))
    with torch.no_grad():
        heads.refiner.head.fc6.weight += 1
    start_from(again, InitialWeights(save_weights(new, tmp_path / "new"), ("Cell",)), ("Cell",))
    assert torch.equal(again.roi_heads.refiner.head.fc6.weight, heads.refiner.head.fc6.weight)


def test_of_boxes_that_come_to_one_cell_the_best_alone_is_left():
    heads = build(SMALL, ("A", "B")).roi_heads
    with torch.no_grad():
        heads.refiner.move.weight[0, 0] = 1.0
    boxes = torch.tensor([[10.0, 10, 30, 30], [60.0, 10, 80, 30], [28.0, 10, 48, 30]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    # The third is moved by nine tenths of its side to the left: onto the first.
    described = torch.zeros(3, 256)
    described[2, 0] = -18.0

    def found(*labels):
        classed = boxes, scores, torch.tensor(labels)
        with torch.inference_mode():
            return refined(heads, classed, LIMITS, lambda _: described)

    alone, best, labels = found(0, 0, 0)
    assert torch.equal(alone, boxes[:2])
    assert torch.equal(best, scores[:2])
    _, best, labels = found(0, 1, 1)
    assert torch.equal(best, scores)
    assert labels.tolist() == [0, 1, 1]
