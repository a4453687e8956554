import os
import pickle
import time
from functools import partial
from itertools import islice
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from model.atomic import new_file
from model.boxes import Box
from model.config import TrainConfig
from model.labels.examples import LabelledImage
from model.rcnn.cut import CUT
from model.training.augment import Variation, too_large
from model.training.batches import Batches
from model.training.data import Example
from model.training.parallel import Ranks, accompanied
from tests.conftest import wait_until


def examples(count=6, side=48):
    rng = np.random.default_rng(0)
    boxes, labels = np.array([[4, 4, 20, 20]], np.float32), np.array([1])
    return [Example(rng.random((side, side), np.float32), boxes, labels) for _ in range(count)]


CONFIG = TrainConfig(batch=4, crop_px=32, noise=0.1)


@pytest.fixture
def batches():
    return Batches(examples(), CONFIG)


def assert_same(one, other):
    """Assert that the examples of two batches are the same, one by one."""
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
        np.testing.assert_array_equal(a.xyxy_px, b.xyxy_px)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_an_epoch_shows_each_example_once_and_the_next_in_another_order(batches):
    shown = [index for iteration in range(3) for index in batches.indices(iteration)]
    assert sorted(shown[:6]) == sorted(shown[6:]) == list(range(6))
    assert shown[:6] != shown[6:]


def test_a_batch_is_a_function_of_its_number(batches):
    first, again, other = batches[3], batches[3], batches[4]
    assert_same(first, again)
    assert any(
        (a.pixels.shape != b.pixels.shape) or (a.pixels != b.pixels).any()
        for a, b in zip(first, other, strict=True)
    )


@pytest.mark.integration
def test_batches_made_ahead_for_a_gpu_are_those_made_one_by_one(batches, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    ahead = list(islice(batches.following(2, torch.device("cuda")), 5))
    one_by_one = list(islice(batches.following(2, torch.device("cpu")), 5))
    assert len(ahead) == len(one_by_one) == 5
    for made, batch in zip(ahead, one_by_one, strict=True):
        assert_same(made, batch)


class Asked(list):
    """Examples that remember which of them were asked for."""

    def __init__(self, examples):
        super().__init__(examples)
        self.asked = []

    def __getitem__(self, index):
        self.asked.append(index)
        return super().__getitem__(index)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_rank_makes_its_share_of_a_batch_and_asks_for_no_other_image(batches, size):
    made = []
    for rank in range(size):
        ranks, asked = Ranks(rank, size), Asked(examples())
        made += Batches(asked, CONFIG, ranks)[3]
        assert asked.asked == [batches.indices(3)[place] for place in ranks.share(4)]
    assert_same(made, batches[3])


def make_ahead(folder, ranks):
    """Make three shares as for a GPU; write them, and how many helpers made them."""
    os.cpu_count = lambda: 4
    coming = Batches(examples(), CONFIG, ranks).following(0, torch.device("cuda"))
    made = list(islice(coming, 3))
    (folder / "made").write_bytes(pickle.dumps((len(active_children()), made)))
    ranks.most(0)


@pytest.mark.integration
def test_another_rank_has_a_helper_of_its_own_that_makes_its_share(batches, tmp_path):
    with accompanied(2, partial(make_ahead, tmp_path), torch.device("cpu")):
        Ranks(0, 2).most(0)  # waits for the other
    helpers, made = pickle.loads((tmp_path / "made").read_bytes())
    assert helpers == 1
    for iteration, share in enumerate(made):
        assert_same(share, batches[iteration][2:])


def learn_for_a_minute(file, batches):
    """Take a batch as for a GPU, write which helpers make more, and take no other."""
    os.cpu_count = lambda: 4
    coming = batches.following(0, torch.device("cuda"))
    next(coming)
    with new_file(file) as new:
        new.write_text(" ".join(str(helper.pid) for helper in active_children()))
    time.sleep(60)


@pytest.mark.integration
def test_helpers_end_with_a_training_that_is_killed(tmp_path):
    # Larger than a pipe holds: they wait to hand them over.
    large = Batches(examples(side=400), TrainConfig(batch=4, crop_px=0))
    told = (tmp_path / "helpers", large)
    learning = get_context("spawn").Process(target=learn_for_a_minute, args=told)
    learning.start()
    wait_until(told[0].exists)
    learning.kill()
    helpers = told[0].read_text().split()
    assert len(helpers) == 2
    wait_until(lambda: not any(Path("/proc", helper).exists() for helper in helpers))


def test_a_process_that_may_start_none_makes_its_batches_itself(batches):
    context = get_context("fork")
    made = context.Queue()

    def make() -> None:
        made.put(len(list(islice(batches.following(0, torch.device("cuda")), 3))))

    process = context.Process(target=make, daemon=True)
    process.start()
    assert made.get(timeout=60) == 3
    process.join()


def test_cells_that_no_part_of_an_image_shows_as_labelled_are_told():
    def told(*sides, scale=2.0, **changes):
        boxes = tuple(Box(5.0, 5.0, 5.0 + side, 5.0 + side, "Nucleus") for side in sides)
        images = [LabelledImage(Path("a.png"), "a", boxes), LabelledImage(Path("b.png"), "b", ())]
        return too_large(images, scale, Variation(**{"crop_px": 40, "zoom": 0.5} | changes))

    assert told() == told(10, 33, 0.1) == told(900, crop_px=0) == ""
    assert told(10, 900, 300).startswith("not learned: 2 cells far larger")
    assert "(33 px)" in told(900)
    for side in (30, 40, 50, 60):
        drawn = Batches([_field(2 * side)], TrainConfig(crop_px=40, zoom=0.5, batch=60))[0]
        assert bool(told(side)) != any((each.labels != CUT).any() for each in drawn)


def _field(side):
    """An image with one cell of this side in its middle."""
    edges = np.array([[20, 20, 20 + side, 20 + side]], np.float32)
    return Example(np.zeros((side + 40, side + 40), np.float32), edges, np.array([1]))
