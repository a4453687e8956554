"""A trained version with real weights, through the web process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.services import Services
from model.config import DetectorConfig
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("label_studio_files")]


CLASSES = ("Cell", "Debris")


def add_version(services: Services, folder: Path, version_id: str, exported: bool) -> ModelVersion:
    """Add fresh weights with a threshold that lets some of their boxes through."""
    from model.rcnn.detector import TorchDetector, build
    from model.rcnn.export import export
    from model.rcnn.weights import save_weights

    config = DetectorConfig(backbone="mbs8_64", anchor_sizes=(32.0,), scale=0.25)
    module, graph = build(config, CLASSES), folder / "model.onnx"
    if exported:
        export(TorchDetector(module, config, CLASSES, "cpu"), graph, [])
    version = ModelVersion(
        version_id, "trained", CLASSES, threshold=0.02, detector=config, project="1"
    )
    weights = save_weights(module, folder / "weights.safetensors")
    services.registry.add(version, ContrastGroups.none(), weights, graph if exported else None)
    services.registry.promote("1", version.id)
    return version


@pytest.fixture
def champion(services: Services, project: int, tmp_path: Path) -> ModelVersion:
    """A champion that PyTorch serves."""
    return add_version(services, tmp_path, "trained-real", exported=False)


def test_setup_and_predict_name_the_champion_while_and_after_it_is_loaded(
    services: Services, champion: ModelVersion, client: FlaskClient, payload: Any
) -> None:
    named = client.post("/setup", json=payload("setup")).json["model_version"]
    # While PyTorch is being loaded, the page gets nothing and asks again.
    answers = (client.post("/predict", json=payload("predict")).json["results"] for _ in range(60))
    (answer,) = next(results for results in answers if results != [[]])

    assert named == answer["model_version"] == "trained-real+t0.02"
    assert {label for r in answer["result"] for label in r["value"]["rectanglelabels"]} <= {
        "Cell",
        "Debris",
    }


SERVE = """
import json, sys
import numpy as np
from backend.services import build_services
from backend.serving.slot import Slot
from preprocessing.images import ImageRecord

services = build_services()
slot = Slot(services.registry, "cpu")
slot.current("2")
before = "torch" in sys.modules
version = slot.current("1", wait_s=100).loaded
noise = np.random.default_rng(0).integers(0, 255, (256, 320)).astype(np.uint8)
boxes = len(version.find([ImageRecord(noise, "00")])[0].detections)
print(json.dumps([before, version.version.id, boxes > 0, "torch" in sys.modules]))
slot.close()
"""


def serve(services: Services) -> list[Any]:
    """Serve an image in a process of its own, and say what it imported before and after."""
    environment = {
        **os.environ,
        "CYTOLOOP_HOME": str(services.settings.home),
        "CYTOLOOP_REDIS_URL": "unix:///none",
    }
    done = subprocess.run(
        [sys.executable, "-c", SERVE], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_torch_is_imported_with_the_first_version_that_is_not_exported_and_not_before(
    services: Services, champion: ModelVersion
) -> None:
    assert serve(services) == [False, "trained-real", True, True]


def test_an_exported_version_is_served_without_torch(
    services: Services, project: int, tmp_path: Path
) -> None:
    add_version(services, tmp_path, "trained-exported", exported=True)
    assert serve(services) == [False, "trained-exported", True, False]
