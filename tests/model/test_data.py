import numpy as np
import pytest

from model.data import Examples, inside
from preprocessing.groups import ContrastGroups


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


def test_labels_count_from_one_since_zero_is_the_background(examples_of, cell_images):
    example = examples_of(cell_images(1, label="B"), classes=("A", "B"))[0]
    assert set(example.labels) == {2}


def test_boxes_of_an_unknown_class_are_left_out(examples_of, cell_images):
    example = examples_of(cell_images(1, label="Debris"), classes=("Nucleus",))[0]
    assert len(example.labels) == len(example.xyxy_px) == 0


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


def test_boxes_are_clipped_and_slivers_marked():
    rows = np.array([[-5, 2, 5, 8], [9.5, 0, 20, 5], [3, 3, 3, 3]], np.float32)
    edges, wide = inside(rows, (10, 10))
    assert edges[0].tolist() == [0, 2, 5, 8]
    assert wide.tolist() == [True, False, False]


def test_no_boxes_stay_no_boxes():
    edges, wide = inside(np.zeros((0, 4), np.float32), (10, 10))
    assert edges.shape == (0, 4)
    assert wide.shape == (0,)
