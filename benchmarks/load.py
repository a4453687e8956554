"""/predict under load while champions change: `python -m benchmarks.load --requests 5000`.

A web process as `cytoloop up` starts it serves tasks of 128×128 pixels to several clients at once,
while version after version is promoted. Each version's detector finds boxes that no other finds, so
that every answer shows which version made it: an error, a task without answer, or an answer whose
name and boxes are not of one version are counted. Printed are these and how long answers took.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import requests
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from backend.datasets.label_config import label_config_of
from backend.labelstudio.results import to_boxes
from backend.running.ours import environment, web_command
from backend.services import Services, build_services
from backend.settings import Settings
from benchmarks.installation import free_port, wait_for
from model.config import DetectorConfig
from model.rcnn.engine import FLOOR, INPUT, OUTPUTS
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.images import encode_png

SIDE_PX = 128
TASKS = 20
TASKS_A_REQUEST = 2
PROJECT = 1
UP_WITHIN_S = 120
LABEL_CONFIG = label_config_of(("Cell",))

Edges = tuple[int, int, int, int]


@dataclass
class Outcome:
    """What came of the requests.

    Parameters
    ----------
    seconds
        Of each answer.
    served
        How many answers each version gave.
    problems
        What was wrong with an answer, a line each.
    """

    seconds: list[float] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--requests", type=int, default=5000)
    arguments.add_argument("--promotions", type=int, default=10)
    arguments.add_argument("--clients", type=int, default=4)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="cytoloop-") as home:
        outcome = load(Path(home), asked.requests, asked.promotions, asked.clients)
    middle, p95, p99 = 1000 * np.quantile(outcome.seconds, [0.5, 0.95, 0.99])
    print(
        f"{len(outcome.seconds)} answers by {len(outcome.served)} versions to {asked.clients} ",
        end="",
    )
    print(f"clients: median {middle:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms")
    print(f"errors and mixed answers: {len(outcome.problems)}", *outcome.problems[:10], sep="\n  ")


def load(home: Path, requests_: int, promotions: int, clients: int) -> Outcome:
    """Ask for so many predictions while so many versions are promoted, evenly spread."""
    services = build_services(Settings(home=home, port=free_port()))
    try:
        tasks = _add_tasks(services)
        versions = [_add_version(services, home, number) for number in range(promotions + 1)]
        services.registry.promote(str(PROJECT), versions[0])
        with _web(services):
            return _Load(services, tasks, versions, requests_, clients).run()
    finally:
        services.engine.dispose()


class _Load:
    """Clients that share a number of requests, and the promotions between them."""

    def __init__(
        self,
        services: Services,
        tasks: list[dict[str, Any]],
        versions: list[str],
        number: int,
        clients: int,
    ) -> None:
        self._services = services
        self._tasks = tasks
        self._versions = versions
        self._number = number
        self._clients = clients
        self._lock = threading.Lock()
        self._begun = 0
        self._outcome = Outcome()

    def run(self) -> Outcome:
        threads = [threading.Thread(target=self._ask_on) for _ in range(self._clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self._outcome

    def _ask_on(self) -> None:
        with requests.Session() as session:
            session.auth = ("cytoloop", self._services.credentials.backend_password)
            while (number := self._next()) is not None:
                self._ask(session, number)

    def _next(self) -> int | None:
        """Take the number of a request; promote where one is due."""
        with self._lock:
            if self._begun == self._number:
                return None
            self._begun += 1
            due = self._begun * len(self._versions) // (self._number + 1)
            self._services.registry.promote(str(PROJECT), self._versions[due])
            return self._begun

    def _ask(self, session: requests.Session, number: int) -> None:
        first = number * TASKS_A_REQUEST % TASKS
        asked = self._tasks[first : first + TASKS_A_REQUEST]
        body = {"project": f"{PROJECT}.1", "label_config": LABEL_CONFIG, "tasks": asked}
        began = time.perf_counter()
        try:
            answer = session.post(
                f"{self._services.settings.backend_address}/predict", json=body, timeout=100
            )
            answer.raise_for_status()
            name, problem = check(answer.json(), len(asked))
        except (requests.RequestException, ValueError) as error:
            name, problem = "", f"request {number}: {error}"
        with self._lock:
            self._outcome.seconds.append(time.perf_counter() - began)
            self._outcome.served.update([name] if name else [])
            self._outcome.problems += [problem] if problem else []


def check(answer: dict[str, Any], asked: int) -> tuple[str, str]:
    """Return the version that an answer names, and what is wrong with it."""
    name = str(answer["model_version"]).partition("+")[0]
    expected = boxes_of(int(name.rpartition("-")[2]))
    if len(answer["results"]) != asked:
        return name, f"{len(answer['results'])} answers to {asked} tasks"
    for one in answer["results"]:
        if not isinstance(one, dict):
            return name, "a task without answer"
        if one["model_version"] != answer["model_version"]:
            return name, f"{name} in an answer of {one['model_version']}"
        found = to_boxes(one["result"], SIDE_PX, SIDE_PX)[0]
        if [tuple(round(edge) for edge in box.xyxy_px) for box in found] != expected:
            return name, f"{name} with boxes of another version"
    return name, ""


def boxes_of(number: int) -> list[Edges]:
    """Return the boxes that the version of a number finds in every image."""
    sides = range(8, 8 + 4 * (number % 3 + 1), 4)
    return [(number + 3 * n, 2 * number + n, number + 3 * n + s, 2 * number + n + s)
            for n, s in enumerate(sides)]  # fmt: skip


def _add_tasks(services: Services) -> list[dict[str, Any]]:
    services.projects.ensure(PROJECT, "load", LABEL_CONFIG)
    rng = np.random.default_rng(0)
    hashes = [
        services.images.keep(encode_png(rng.integers(0, 255, (SIDE_PX, SIDE_PX)).astype(np.uint8)))
        for _ in range(TASKS)
    ]
    return [
        {"id": number, "data": {"image": f"/data/{number}.png", "sha256": sha256}}
        for number, sha256 in enumerate(hashes, start=1)
    ]


def _add_version(services: Services, folder: Path, number: int) -> str:
    """Add a version whose exported detector finds the same boxes in every image."""
    config = DetectorConfig(anchor_sizes=(32.0,), scale=1.0, turned_px=0)
    threshold = round(0.2 + 0.01 * number, 2)
    version = ModelVersion(
        f"trained-{number:04}", "trained", ("Cell",), threshold, config, project=str(PROJECT)
    )
    path = folder / "model.onnx"
    _write_detector(path, boxes_of(number))
    services.registry.add(version, ContrastGroups.none(), None, path)
    return version.id


def _write_detector(path: Path, boxes: list[Edges]) -> None:
    scores = np.linspace(0.9, 0.8, len(boxes), dtype=np.float32)
    labels, caps = np.zeros(len(boxes), np.int64), np.zeros(2, bool)
    found: tuple[NDArray[Any], ...] = (np.array(boxes, np.float32), scores, labels, caps)
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in zip(OUTPUTS, found, strict=True)
    ]
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in zip(OUTPUTS, found, strict=True)
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in ((INPUT, ["height", "width"]), (FLOOR, []))
    ]
    graph = helper.make_graph(nodes, "known boxes", inputs, outputs)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@contextmanager
def _web(services: Services) -> Iterator[None]:
    """Run the web process as `cytoloop up` does, without Redis and Label Studio."""
    settings = services.settings
    variables = {
        **os.environ,
        **environment(settings),
        "CYTOLOOP_REDIS_URL": "unix:///nowhere/redis.sock",
        "CYTOLOOP_POLL_S": "0",
        "CYTOLOOP_DEVICE": "cpu",
    }
    with (settings.home / "web.log").open("wb") as log:
        process = subprocess.Popen(web_command(settings), env=variables, stdout=log, stderr=log)
        try:
            wait_for(lambda: _is_loaded(services, process), UP_WITHIN_S, every_s=0.1)
            yield
        finally:
            process.terminate()
            process.wait(20)


def _is_loaded(services: Services, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (services.settings.home / "web.log").read_text("utf-8")
    auth = ("cytoloop", services.credentials.backend_password)
    try:
        measured = requests.get(
            f"{services.settings.backend_address}/metrics", auth=auth, timeout=5
        )
    except requests.RequestException:  # not yet
        return False
    return "cytoloop_loaded_version{" in measured.text


if __name__ == "__main__":
    main()
