from itertools import islice
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from model.batches import Batches
from model.config import TrainConfig
from model.data import Example


def examples(count=6):
    rng = np.random.default_rng(0)
    boxes, labels = np.array([[4, 4, 20, 20]], np.float32), np.array([1])
    return [Example(rng.random((48, 48), np.float32), boxes, labels) for _ in range(count)]


@pytest.fixture
def batches():
    return Batches(examples(), TrainConfig(batch=4, crop_px=32))


def test_an_epoch_shows_each_example_once_and_the_next_in_another_order(batches):
    shown = [index for iteration in range(3) for index in batches.indices(iteration)]
    assert sorted(shown[:6]) == sorted(shown[6:]) == list(range(6))
    assert shown[:6] != shown[6:]


def test_a_batch_is_a_function_of_its_number(batches):
    first, again, other = batches[3], batches[3], batches[4]
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, same.pixels)
        np.testing.assert_array_equal(one.xyxy_px, same.xyxy_px)
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
        for a, b in zip(made, batch, strict=True):
            np.testing.assert_array_equal(a.pixels, b.pixels)
            np.testing.assert_array_equal(a.xyxy_px, b.xyxy_px)
            np.testing.assert_array_equal(a.labels, b.labels)


def test_a_process_that_may_start_none_makes_its_batches_itself(batches):
    context = get_context("fork")
    made = context.Queue()

    def make() -> None:
        made.put(len(list(islice(batches.following(0, torch.device("cuda")), 3))))

    process = context.Process(target=make, daemon=True)
    process.start()
    assert made.get(timeout=60) == 3
    process.join()
