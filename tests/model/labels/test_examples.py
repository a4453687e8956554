import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.boxes import Box
from model.labels.examples import DatasetSnapshot, LabelledImage, evenly
from preprocessing.errors import UnreadableImage


def image(name="a", side="train", path="/raw/a.png", label="Nucleus"):
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return LabelledImage(Path(path), sha256, (Box(1, 2, 3, 4, label),), side, 0, name)


def test_a_snapshot_is_the_same_wherever_its_files_lie():
    here = DatasetSnapshot((image(path="/here/a.png"),), ("Nucleus",))
    there = DatasetSnapshot((image(path="/there/b.png"),), ("Nucleus",))
    assert here.sha256 == there.sha256


def test_another_box_side_or_class_is_another_snapshot():
    plain = DatasetSnapshot((image(),), ("Nucleus",))
    others = [
        DatasetSnapshot((image(side="inner"),), ("Nucleus",)),
        DatasetSnapshot((image(),), ("Nucleus", "WBC")),
        DatasetSnapshot((image(label="WBC"),), ("Nucleus", "WBC")),
    ]
    assert len({plain.sha256, *(other.sha256 for other in others)}) == 4


def test_a_box_of_none_of_the_classes_is_in_no_snapshot():
    with pytest.raises(ValueError, match=r"boxes of WBC.*classes \(Nucleus\)"):
        DatasetSnapshot((image(label="WBC"),), ("Nucleus",))


def test_an_image_whose_file_was_changed_since_it_was_labelled_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(path)
    labelled = LabelledImage(path, hashlib.sha256(path.read_bytes()).hexdigest(), ())
    assert labelled.read().sha256 == labelled.sha256
    Image.fromarray(np.full((8, 8), 91, np.uint8)).save(path)
    with pytest.raises(UnreadableImage, match=r"a.png is not as it was when it was labelled: .*"):
        labelled.read()
    path.unlink()
    with pytest.raises(UnreadableImage, match="it cannot be opened"):
        labelled.read()


def test_a_snapshot_comes_back_from_its_file_as_it_was(tmp_path):
    snapshot = DatasetSnapshot((image("a"), image("b", "held-out")), ("Nucleus",))
    snapshot.save(tmp_path / "snapshot.json")
    assert DatasetSnapshot.load(tmp_path / "snapshot.json") == snapshot


def test_an_even_draw_has_the_first_the_last_and_what_lies_evenly_between():
    images = [image(str(number)) for number in range(9)]
    assert [each.name for each in evenly(images, 3)] == ["0", "4", "8"]
    assert evenly(images, 9) == images


def test_a_side_is_picked_out_of_a_snapshot():
    snapshot = DatasetSnapshot((image("a"), image("b", "held-out")), ("Nucleus",))
    assert [i.name for i in snapshot.of_side("held-out")] == ["b"]
    assert snapshot.of_side("train", "held-out") == snapshot.images
