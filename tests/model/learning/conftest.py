import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from model.config import CONTRASTS, DetectorConfig, TrainConfig
from model.keeping.registry import Registry
from model.labels.examples import DatasetSnapshot
from model.learning.candidate import make_candidate
from model.learning.serving import Serving
from model.rcnn.detector import load_detector
from model.versions import ModelVersion

CLASSES = ("Nucleus",)
PRESET = (
    DetectorConfig(head_features=32),
    TrainConfig(
        iterations=3,
        batch=1,
        rois_per_image=16,
        rpn_proposals=50,
        contrast=CONTRASTS["single"],
    ),
)


@pytest.fixture(scope="session")
def snapshot(cell_images):
    train = cell_images(3, shape=(64, 64), cells=4)
    held_out = cell_images(1, 200, "held-out", 4, (64, 64))
    return DatasetSnapshot((*train, *held_out), CLASSES)


@pytest.fixture
def make(registry, tmp_path):
    def make(snapshot, name="work", recipe=PRESET, **options):
        return make_candidate(
            snapshot, registry, workdir=tmp_path / name, recipe=recipe, device="cpu", **options
        )

    return make


class Made(NamedTuple):
    """A candidate of the snapshot for project 7, which the classical version serves."""

    root: Path
    version: ModelVersion
    told: list


@pytest.fixture(scope="session")
def made(snapshot, tmp_path_factory):
    """Make one for all tests that only look at it or begin with it."""
    folder, told = tmp_path_factory.mktemp("made"), []
    registry = Registry(folder / "registry")
    version = make_candidate(
        snapshot,
        registry,
        workdir=folder / "work",
        champion=registry.champion("7"),
        project="7",
        recipe=PRESET,
        device="cpu",
        on_progress=told.append,
    )
    return Made(registry.root, version, told)


@pytest.fixture
def candidate(made, registry):
    """The candidate that was made, in the registry of this test."""
    shutil.copytree(made.root, registry.root)
    return made.version


@pytest.fixture
def unexported(monkeypatch):
    """Let PyTorch serve: an export takes longer than all else, and not every test is about it."""

    def serve(weights, snapshot, groups, detector, workdir, device):
        return Serving(load_detector(weights, detector, snapshot.classes, device).folded())

    monkeypatch.setattr("model.learning.candidate.serving_of", serve)
