"""`cytoloop up`: a demo that opens with boxes, an end that leaves nothing, a start in seconds."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import requests

from backend.datasets.voc import read_voc
from backend.running.lock import holder
from model.boxes import iou_matrix

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SHOWN = "field-05-medium.tif"


def test_the_demo_opens_with_boxes_on_its_cells(make_loop, make_editor, artifacts):
    loop = make_loop()
    loop.up()
    task = next(t for t in loop.label_studio.tasks(1) if t["data"]["name"] == SHOWN)
    editor = make_editor(loop)
    editor.log_in()
    editor.open(1, task["id"])
    truth = read_voc((loop.home / "demo" / "truth" / SHOWN).with_suffix(".xml"))

    (prediction,) = loop.label_studio.task(task["id"])["predictions"]
    editor.wait_for_boxes(len(prediction["result"]))
    editor.page.screenshot(path=artifacts / "demo.png")

    shown = np.array(
        [[b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]] for b in editor.boxes()]
    )
    on_screen = (shown / 100 * np.array([truth.width, truth.height] * 2)).astype(np.float32)
    real = np.array([box.xyxy_px for box in truth.boxes], np.float32)
    assert (iou_matrix(real, on_screen).max(axis=1) >= 0.5).mean() >= 0.7


def test_what_was_there_is_there_again_in_seconds_and_ctrl_c_leaves_no_process(make_loop):
    loop = make_loop()
    first_s = loop.up()
    tasks = {task["id"] for task in loop.label_studio.tasks(1)}
    assert len(loop.processes()) > 4
    assert holder(loop.home).pid == loop.process.pid

    assert loop.stop(signal.SIGINT) == 0
    assert loop.processes() == []
    assert holder(loop.home) is None

    again_s = loop.up()
    assert again_s < first_s
    assert {task["id"] for task in loop.label_studio.tasks(1)} == tasks
    assert len(loop.status()["projects"]) == 1


def test_a_second_up_on_the_same_home_says_where_the_first_is_open(make_loop, tmp_path: Path):
    loop = make_loop()
    loop.up("--images", str(one_image(tmp_path)))

    told = loop.refused("up")

    assert "already" in told
    assert f"127.0.0.1:{loop.label_studio_port}" in told
    assert all(service["answers"] for service in loop.status()["services"])


def test_killing_up_by_sigkill_leaves_no_process(make_loop, tmp_path: Path, wait):
    loop = make_loop()
    loop.up("--images", str(one_image(tmp_path)))
    assert loop.processes()

    os.kill(loop.process.pid, signal.SIGKILL)
    loop.process.wait()

    assert wait(lambda: not loop.processes(), 15)


def test_a_worker_that_is_killed_comes_back(make_loop, tmp_path: Path, wait):
    loop = make_loop()
    loop.up("--images", str(one_image(tmp_path)))
    worker = next(pid for pid in loop.processes() if b"\0worker\0" in command_of(pid))

    os.kill(worker, signal.SIGKILL)

    assert wait(lambda: "Starting it again" in loop.said, 10)
    assert wait(lambda: loop.said.count("✓ Worker") == 2, 30)


def test_connect_attaches_a_label_studio_that_runs_already(make_loop, tmp_path: Path):
    theirs, ours = make_loop(), make_loop()
    theirs.up("--images", str(one_image(tmp_path)))
    address = f"http://127.0.0.1:{theirs.label_studio_port}"
    here = ("connect", "--url", address, "--project", "1", "--token")

    assert "token" in ours.refused(*here, "f" * 40)
    assert ours.credentials.label_studio_url == ""
    assert "cytoloop up" in ours.run(*here, theirs.credentials.label_studio_token)

    ours.up()
    assert "Label Studio  http" not in ours.said.partition("Label cells")[0]
    (project,) = ours.status()["projects"]
    assert project["id"] == 1
    token = {"Authorization": f"Token {theirs.credentials.label_studio_token}"}
    hooks = requests.get(f"{address}/api/webhooks/?project=1", headers=token, timeout=30).json()
    assert [hook["url"] for hook in hooks] == [f"http://127.0.0.1:{ours.port}/webhook"]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def one_image(folder: Path) -> Path:
    from PIL import Image

    images = folder / "one"
    images.mkdir()
    Image.fromarray(np.full((64, 64), 40, np.uint8)).save(images / "empty.png")
    return images
