"""The same recorded requests through label-studio-ml's own server and through ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAYLOADS = Path(__file__).parents[1] / "payloads"

# In a process of its own: label_studio_ml imports torch and sets multiprocessing to spawn.
BOTH_DOORS = """
import io, json, sys
import numpy as np
from PIL import Image
from backend.app import create_app
from backend.http.parts import EXTENSION
from backend.ml_backend import CellBackend
from backend.services import build_services

y, x = np.mgrid[:480, :640]
pixels = np.where((x - 200) ** 2 + (y - 150) ** 2 < 900, 200, 30).astype(np.uint8)
image = io.BytesIO()
Image.fromarray(pixels).save(image, "PNG")
services = build_services()
services.label_studio.download = lambda path: image.getvalue()
app = create_app(services)
predictor = app.extensions[EXTENSION].predictor

from label_studio_ml.api import init_app
theirs = init_app(CellBackend, model_dir=sys.argv[2], predictor=predictor)
auth = (services.settings.backend_user, services.credentials.backend_password)
answers = {"ours": {}, "theirs": {}}
for name in ("health", "setup", "predict", "predict-on-task-open", "predict-batch"):
    sent = json.load(open(f"{sys.argv[1]}/{name}.json"))
    path = sent["path"].rstrip("?")
    for door, client in (("ours", app.test_client()), ("theirs", theirs.test_client())):
        call = client.get if sent["method"] == "GET" else client.post
        answer = call(path, json=sent["body"], auth=auth)
        answers[door][name] = [answer.status_code, answer.get_json()]
predictor.slot.close()
print("ANSWERS" + json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("home")
    models = tmp_path_factory.mktemp("models")
    environment = {**os.environ, "CYTOLOOP_HOME": str(home), "CYTOLOOP_REDIS_URL": "unix:///none"}
    command = [sys.executable, "-c", BOTH_DOORS, str(PAYLOADS), str(models)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("ANSWERS")[2])


@pytest.mark.integration
def test_both_doors_give_the_same_predictions(answers: Any) -> None:
    for name in ("predict", "predict-on-task-open", "predict-batch"):
        (our_status, ours), (their_status, theirs) = (answers[d][name] for d in ("ours", "theirs"))

        assert (our_status, their_status) == (200, 200)
        assert ours["results"] == theirs["results"]
        assert all(len(result["result"]) == 1 for result in ours["results"])


@pytest.mark.integration
def test_both_doors_answer_health_and_setup(answers: Any) -> None:
    for door in ("ours", "theirs"):
        assert answers[door]["health"][0] == 200
        assert answers[door]["health"][1]["status"] == "UP"
        assert answers[door]["setup"][0] == 200
        assert "model_version" in answers[door]["setup"][1]
