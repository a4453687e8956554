from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import PRESETS, DetectorConfig
from model.errors import NothingToLearn
from model.labels.examples import DatasetSnapshot
from model.rcnn.anchors import (
    MAPS,
    anchor_sizes,
    by_level,
    fits,
    kmeans,
    resolve,
)

sides = st.lists(st.floats(2, 400), min_size=1, max_size=200).map(np.array)


@pytest.fixture
def snapshot_of(labelled):
    def make(rows, side="train"):
        return DatasetSnapshot((labelled(rows, side=side),), ("Nucleus",))

    return make


def test_kmeans_finds_the_sizes_that_the_cells_have():
    rng = np.random.default_rng(0)
    cells = np.concatenate([rng.normal(m, 0.5, 50) for m in (12, 30, 80)])
    assert kmeans(cells, 3) == pytest.approx([12, 30, 80], rel=0.05)
    of_unequal_number = np.concatenate([np.full(70, 12.0), np.geomspace(40, 90, 30)])
    assert kmeans(of_unequal_number, 2) == pytest.approx([12, 60])


def test_cells_of_one_size_get_a_ladder_of_anchors_about_it():
    sizes = kmeans(np.full(50, 30.0), 4)
    assert np.all(sizes[1:] / sizes[:-1] >= 1.19)
    assert np.exp(np.log(sizes).mean()) == pytest.approx(30)


@given(sides=sides, backbone=st.sampled_from(sorted(MAPS)))
def test_every_map_of_every_backbone_gets_as_many_ascending_sizes(sides, backbone):
    sizes = anchor_sizes(sides, backbone)
    levels = by_level(sizes, len(MAPS[backbone].strides))
    assert list(sizes) == sorted(sizes)
    assert min(sizes) > 0
    assert [len(level) for level in levels] == [len(levels[0])] * len(MAPS[backbone].strides)


def test_coarse_maps_look_for_nothing_smaller_than_twice_their_stride():
    assert anchor_sizes(np.full(20, 24.0), "resnet50_fpn")[-2:] == (64.0, 128.0)


def test_sizes_given_by_hand_that_do_not_divide_are_looked_for_on_every_map():
    assert by_level((32.0, 64.0, 128.0), 2) == ((32.0, 64.0, 128.0),) * 2


def test_what_the_configuration_gives_is_left_as_it_is(snapshot_of):
    thesis, _ = PRESETS["m04"]
    assert resolve(thesis, snapshot_of([])) is thesis


def test_only_the_train_side_decides_the_sizes(snapshot_of, labelled):
    train = snapshot_of([(0, 0, 64, 64)] * 5)
    held_out = labelled([(0, 0, 10, 10)] * 500, name="b", side="held-out")
    both = replace(train, images=(*train.images, held_out))
    assert resolve(DetectorConfig(), both) == resolve(DetectorConfig(), train)
    resolved = resolve(DetectorConfig(cell_px=32), train)
    assert resolved.scale == 0.5
    assert np.exp(np.log(resolved.anchor_sizes).mean()) == pytest.approx(32, rel=0.01)


def test_a_snapshot_without_a_box_says_what_to_do(snapshot_of):
    with pytest.raises(NothingToLearn, match="correct at least one image with cells"):
        resolve(DetectorConfig(), snapshot_of([(5, 5, 5, 5)]))


def test_weights_fit_another_scale_but_not_another_architecture():
    one = DetectorConfig()
    assert fits(one, replace(one, scale=0.3, nms_iou=0.5))
    for other in (
        {"backbone": "mbs8_64"},
        {"head_features": 7},
        {"aspect_ratios": (1.0,)},
    ):
        assert not fits(one, replace(one, **other))


def test_weights_fit_other_anchors_of_the_same_number_and_those_not_chosen_yet():
    one = DetectorConfig(anchor_sizes=(20.0, 30.0))
    assert fits(one, replace(one, anchor_sizes=(10.0, 15.0)))
    assert fits(one, replace(one, anchor_sizes=()))
    assert not fits(one, replace(one, anchor_sizes=(10.0, 15.0, 20.0)))
