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


@pytest.fixture
def champion(services: Services, project: int, tmp_path: Path) -> ModelVersion:
    """A champion with fresh weights and a threshold that lets some of its boxes through."""
    from model.detector import build
    from model.weights import save_weights

    config = DetectorConfig(backbone="mbs8_64", anchor_sizes=(32.0,), scale=0.25)
    weights = save_weights(build(config, ("Cell", "Debris")), tmp_path / "weights.safetensors")
    version = ModelVersion(
        "trained-real", "trained", ("Cell", "Debris"), threshold=0.02, detector=config, project="1"
    )
    services.registry.add(version, ContrastGroups.none(), weights)
    services.registry.promote("1", version.id)
    return version


def test_setup_and_predict_name_the_champion_while_and_after_it_is_loaded(
    services: Services, champion: ModelVersion, client: FlaskClient, payload: Any
) -> None:
    named = client.post("/setup", json=payload("setup")).json["model_version"]
    (answer,) = client.post("/predict", json=payload("predict")).json["results"]

    assert named == answer["model_version"] == "trained-real+t0.02"
    assert {label for r in answer["result"] for label in r["value"]["rectanglelabels"]} <= {
        "Cell",
        "Debris",
    }


def test_torch_is_imported_with_the_first_trained_version_and_not_before(
    services: Services, champion: ModelVersion
) -> None:
    script = """
import json, sys
from backend.services import build_services
from backend.serving.slot import Slot

services = build_services()
slot = Slot(services.registry, "cpu")
slot.current("2")
before = "torch" in sys.modules
version = slot.current("1", wait_s=100).version.version.id
print(json.dumps([before, version, "torch" in sys.modules]))
slot.close()
"""
    environment = {
        **os.environ,
        "CYTOLOOP_HOME": str(services.settings.home),
        "CYTOLOOP_REDIS_URL": "unix:///none",
    }

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [False, "trained-real", True]
