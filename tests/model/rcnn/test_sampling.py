from dataclasses import replace

import pytest
import torch

from model.config import PRESETS, DetectorConfig, TrainConfig
from model.rcnn.detector import build

SMALL = DetectorConfig(scale=1.0, anchor_sizes=(12.0, 16.0, 20.0, 25.0), head_features=16)
CELLS = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
#: On the first cell, half beside it, on nothing, and on the second.
REGIONS = torch.tensor(
    [[0.0, 0.0, 10.0, 9.0], [5.0, 0.0, 15.0, 10.0], [30.0, 30.0, 40.0, 40.0], [50, 50, 60, 60]]
)


@pytest.mark.parametrize("refined", [True, False])
@pytest.mark.parametrize(
    ("training", "taught"),
    [(TrainConfig(), [1, 0, 0, 1]), (PRESETS["m03"][1], [1, 0, -1, 1])],
)
def test_by_the_thesis_presets_near_misses_alone_are_background(training, taught, refined):
    module = build(replace(SMALL, refined=refined), ("N",), training)
    labels, none = torch.tensor([1, 1]), torch.zeros((0, 4))
    matched, assigned = module.roi_heads.assign_targets_to_proposals(
        [REGIONS, REGIONS], [CELLS, none], [labels, labels[:0]]
    )
    assert assigned[0].tolist() == taught
    assert matched[0].tolist()[0::3] == [0, 1]
    assert assigned[1].tolist() == [0, 0, 0, 0]


def test_half_of_the_regions_that_a_thesis_preset_learns_from_may_show_cells():
    shares = {"default": 0.25, "m03": 0.5, "m06": 0.5}
    for name, share in shares.items():
        heads = build(SMALL, ("N",), PRESETS[name][1]).roi_heads
        assert heads.fg_bg_sampler.positive_fraction == share
