import pytest
import torch

from model.config import DetectorConfig
from model.judging.evaluation import evaluate_version
from model.labels.examples import DatasetSnapshot
from model.learning.serving import _samples
from model.looking.tiling import TILE_PX
from model.rcnn.detector import TorchDetector
from model.rcnn.engine import OnnxDetector
from preprocessing.groups import ContrastGroups
from tests.model.learning.conftest import CLASSES


def test_of_a_large_image_the_middle_tile_alone_shows_whether_the_exported_file_is_right(
    cell_images, tmp_path
):
    images = cell_images(1, shape=(40, 2 * TILE_PX))
    config = DetectorConfig(scale=1.0)
    (sample,) = _samples(DatasetSnapshot(tuple(images), CLASSES), ContrastGroups.none(), config)
    assert sample.seen_shape == (40, TILE_PX)


@pytest.mark.integration
def test_a_candidate_is_judged_and_served_by_its_exported_file(candidate, registry):
    assert isinstance(registry.load(candidate.id, "cpu").detector, OnnxDetector)
    by_torch = registry.load(candidate.id, "cpu", "torch").detector
    assert isinstance(by_torch, TorchDetector)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in by_torch.module.modules())
    assert candidate.notes == ()


@pytest.mark.integration
def test_a_candidate_that_cannot_be_exported_is_served_by_pytorch_and_says_so(
    make, registry, snapshot, monkeypatch, caplog
):
    monkeypatch.setattr("model.rcnn.export.SCORE", -1.0)  # nothing is that near
    version = make(snapshot)
    assert "boxes are not those that PyTorch finds" in version.notes[0]
    assert "not exported" in caplog.text
    loaded = registry.load(version.id, "cpu")
    assert isinstance(loaded.detector, TorchDetector)
    assert evaluate_version(loaded, snapshot.of_side("held-out"), CLASSES) == version.report
