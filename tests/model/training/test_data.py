from pathlib import Path

import numpy as np
import pytest

from model.config import TrainConfig
from model.training.batches import Batches
from model.training.data import Examples, inside
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import prepare, rescaled


@pytest.fixture
def examples_of():
    def make(images, classes=("Nucleus",), scale=1.0, **options):
        return Examples(images, ContrastGroups.none(), classes, scale, **options)

    return make


def test_an_example_has_the_boxes_of_its_image_at_the_working_scale(examples_of, cell_images):
    images = cell_images(1)
    example = examples_of(images, scale=0.5)[0]
    assert example.pixels.shape == (48, 64)
    np.testing.assert_allclose(example.xyxy_px, images[0].xyxy_px / 2, atol=1e-4)


def test_an_enlarged_example_is_what_serving_sees_and_is_made_strip_by_strip(
    examples_of, cell_images, peak_of
):
    (image,) = cell_images(1, shape=(700, 600))
    example, peak = peak_of(lambda: examples_of([image], scale=3.0)[0])
    whole = rescaled(prepare(image.read(), ContrastGroups.none()), 3.0)
    np.testing.assert_array_equal(example.pixels, whole.pixels.astype(np.float16))
    np.testing.assert_allclose(example.xyxy_px, image.xyxy_px * 3, rtol=1e-5)
    assert peak < 4 * example.pixels.nbytes


def test_labels_count_from_one_since_zero_is_the_background(examples_of, cell_images):
    example = examples_of(cell_images(1, label="B"), classes=("A", "B"))[0]
    assert set(example.labels) == {2}


def test_pixels_lie_within_0_and_1(examples_of, cell_images):
    pixels = examples_of(cell_images(1))[0].pixels
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert pixels.std() > 0.05


def test_an_example_that_has_room_is_prepared_once(examples_of, cell_images):
    examples = examples_of(cell_images(1))
    assert examples[0] is examples[0]


def test_an_example_without_room_is_the_same_each_time(examples_of, cell_images):
    examples = examples_of(cell_images(1), keep_bytes=0)
    assert examples[0] is not examples[0]
    np.testing.assert_array_equal(examples[0].pixels, examples[0].pixels)


@pytest.fixture
def on_disk(examples_of, cell_images, tmp_path):
    """Examples for which there is no room in memory, but in a folder."""
    images = cell_images(2)

    def make(**options):
        room = {"keep_bytes": 0, "folder": tmp_path, "leave_bytes": 0}
        return examples_of(images, **{**room, **options})

    return make


def test_an_example_without_room_in_memory_is_prepared_once_and_read_from_a_file(on_disk, tmp_path):
    examples, in_memory = on_disk(), on_disk(keep_bytes=10**9)
    for index in range(2):
        np.testing.assert_array_equal(examples[index].pixels, in_memory[index].pixels)
        np.testing.assert_array_equal(examples[index].xyxy_px, in_memory[index].xyxy_px)
        assert isinstance(examples[index].pixels, np.memmap)
    assert len(list(tmp_path.iterdir())) == 2
    for file in tmp_path.iterdir():
        np.save(file, np.zeros((2, 3), np.float16))
    assert examples[0].pixels.shape == (2, 3)


def test_an_enlarged_example_goes_to_its_file_without_ever_being_whole_in_memory(
    examples_of, cell_images, peak_of, tmp_path
):
    images, scale = cell_images(1, shape=(700, 600)), 3.0
    room = {"keep_bytes": 0, "folder": tmp_path, "leave_bytes": 0}
    filed, peak = peak_of(lambda: examples_of(images, scale=scale, **room)[0])
    np.testing.assert_array_equal(filed.pixels, examples_of(images, scale=scale)[0].pixels)
    assert peak < 0.7 * filed.pixels.nbytes


def test_an_example_in_a_file_keeps_none_open(on_disk):
    examples = on_disk()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for index in range(2):
        assert len(examples[index].pixels)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_whoever_learns_of_the_same_images_shares_their_files(on_disk, tmp_path):
    examples = [on_disk()[0] for _ in range(2)]
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 1.1 * examples[0].pixels.nbytes
    assert on_disk(scale=0.5)[0].pixels.shape == (48, 64)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_is_nearly_full_is_not_filled(on_disk, tmp_path, caplog):
    caplog.set_level("WARNING")
    examples = on_disk(leave_bytes=10**18)
    np.testing.assert_array_equal(examples[0].pixels, examples[0].pixels)
    assert len(examples[1].pixels)
    assert not list(tmp_path.iterdir())
    assert caplog.text.count("nearly full") == 1


def test_a_batch_is_the_same_wherever_its_images_are_kept(on_disk):
    config = TrainConfig(batch=2, crop_px=40)
    one, other = (Batches(each, config)[0] for each in (on_disk(), on_disk(keep_bytes=10**9)))
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.pixels, yours.pixels)
        np.testing.assert_array_equal(mine.xyxy_px, yours.xyxy_px)


def test_boxes_are_clipped_and_slivers_marked():
    rows = np.array([[-5, 2, 5, 8], [9.5, 0, 20, 5], [3, 3, 3, 3]], np.float32)
    edges, wide = inside(rows, (10, 10))
    assert edges[0].tolist() == [0, 2, 5, 8]
    assert wide.tolist() == [True, False, False]


def test_no_boxes_stay_no_boxes():
    edges, wide = inside(np.zeros((0, 4), np.float32), (10, 10))
    assert edges.shape == (0, 4)
    assert wide.shape == (0,)
