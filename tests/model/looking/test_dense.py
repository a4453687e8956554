"""Dense images through the caps and NMS of the shipped detector, with a box on every cell."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.boxes import iou_matrix
from model.config import DetectorConfig
from model.generated.fields import MEDIUM, generate_field
from model.rcnn.detector import TorchDetector, build
from preprocessing.prepare import Prepared

SHAPE = (1024, 1280)
CONFIG = DetectorConfig(scale=1.0, anchor_sizes=(12.0, 20.0, 28.0, 40.0))


class _Sure(torch.nn.Module):
    """A head that takes every proposal for a cell as it stands."""

    cls_score = torch.nn.Linear(1, 2)

    def forward(self, rows):
        return torch.tensor([[-3.0, 3.0]]).repeat(len(rows), 1), torch.zeros(len(rows), 8)


class _Untaught(torch.nn.Module):
    """A refiner's head, of which nothing comes."""

    def forward(self, rows):
        return torch.zeros(len(rows), CONFIG.head_features)


class _NoMaps(torch.nn.Module):
    def forward(self, images):
        return {}


class _OneRowEach(torch.nn.Module):
    def forward(self, features, proposals, sizes):
        return torch.zeros(len(proposals[0]), 1)


def through_the_post_processing(boxes, monkeypatch):
    detector = TorchDetector(build(CONFIG, ("Nucleus",)), CONFIG, ("Nucleus",), "cpu")
    detector.module.backbone = _NoMaps()
    heads = detector.module.roi_heads
    heads.box_roi_pool, heads.box_head, heads.box_predictor = (
        _OneRowEach(),
        torch.nn.Identity(),
        _Sure(),
    )
    heads.refiner.head = _Untaught()
    monkeypatch.setattr(
        "model.rcnn.detector.propose",
        lambda *_: (torch.from_numpy(boxes), torch.zeros(2, dtype=torch.bool)),
    )
    pixels = np.zeros(SHAPE, np.float32)
    return detector.detect([Prepared(pixels, 1.0, "all", 0.0, (), *SHAPE)])[0]


@pytest.mark.integration
@pytest.mark.parametrize("cells", [600, 1000])
def test_a_dense_field_of_touching_cells_comes_through_every_cap(cells, monkeypatch):
    field = generate_field(cells, SHAPE, cells, replace(MEDIUM, touching=0.6))
    truth = np.array([box.xyxy_px for box in field.boxes], np.float32)
    # Each cell proposed as often as the cap on proposals lets it be, a little off.
    again = CONFIG.rpn_crowded * CONFIG.rpn_post_nms // len(truth)
    rng = np.random.default_rng(0)
    near = [truth, *(truth + rng.uniform(-1, 1, truth.shape) for _ in range(again - 1))]
    proposed = np.concatenate(near).astype(np.float32)
    assert len(proposed) > CONFIG.detections_per_image
    found = through_the_post_processing(proposed, monkeypatch)
    assert len(truth) >= 0.99 * cells
    assert abs(len(found) - len(truth)) <= 0.01 * len(truth)
    assert (iou_matrix(truth, found.xyxy_px).max(axis=1) > 0.5).mean() >= 0.99
    assert found.caps_reached == {}
