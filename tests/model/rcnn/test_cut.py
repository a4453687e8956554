from dataclasses import replace

import pytest
import torch

from model.boxes import CELL
from model.config import DetectorConfig, TrainConfig
from model.rcnn.cut import CUT
from model.rcnn.detector import build

CONFIG = DetectorConfig(backbone="r18_p34_64", scale=1.0, anchor_sizes=(16.0, 24.0))
TRAINING = TrainConfig(imagenet="never")
#: A cell, and one of which the window's left edge has left a quarter.
BOXES = torch.tensor([[40.0, 40, 60, 60], [0, 10, 6, 30]])


def target(*labels):
    return {"boxes": BOXES[: len(labels)], "labels": torch.tensor(labels)}


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return build(CONFIG, (CELL,), TRAINING).train()


def anchors_about(left):
    """Return anchors on the cell, on what is left at the edge, and on neither."""
    return torch.tensor([[40.0, 40, 60, 60], [left, 10, 8, 30], [70, 10, 90, 30]])


@pytest.mark.parametrize(("labels", "learned"), [((1, 1), 1), ((1,), 0), ((1, CUT), -1)])
def test_what_is_left_of_a_cell_is_neither_proposed_nor_kept_from_it(module, labels, learned):
    (told,), (boxes,) = module.rpn.assign_targets_to_anchors([anchors_about(0)], [target(*labels)])
    assert told.tolist() == [1, learned, 0]
    assert boxes[0].tolist() == BOXES[0].tolist()


def test_regions_on_what_is_left_of_a_cell_are_not_classified(module):
    told = target(1, CUT)
    _, (labels,) = module.roi_heads.assign_targets_to_proposals(
        [anchors_about(0)], [told["boxes"]], [told["labels"]]
    )
    assert labels.tolist() == [1, -1, 0]


@pytest.mark.parametrize("refined", [True, False])
def test_a_window_that_shows_a_cut_cell_alone_teaches_that_there_is_background(refined):
    torch.manual_seed(0)
    module = build(replace(CONFIG, refined=refined), (CELL,), TRAINING).train()
    alone = {"boxes": BOXES[1:], "labels": torch.tensor([CUT])}
    losses = module([torch.rand(1, 96, 96)], [alone])
    found = {name: loss.item() for name, loss in losses.items()}
    of_boxes = {name for name in found if name.endswith("box_reg") or name == "loss_refiner"}
    assert len(of_boxes) == (3 if refined else 2)
    assert {name for name, loss in found.items() if loss == 0} == of_boxes
