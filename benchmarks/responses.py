"""How fast the web answers, idle and while a training runs: `python -m benchmarks.responses`.

`cytoloop up` runs on a new home with the demo project. /health, /setup, /webhook (an annotation of
300 boxes) and /predict (one image of 512×512, by the starter) are asked one after another;
then five tasks are submitted, of which the third starts a training, and all is asked again while it
runs. The ratios of the medians, p95 and p99 are what an annotator feels of a training in the
background. They hold for a machine on which nothing else runs; the load before it began is printed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import requests

from backend.labelstudio.client import SECRET_HEADER
from benchmarks.installation import Loop, wait_for

ASKED = 300
PREDICTED = 60
QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
SUBMITTED = 5
BOXES = 300
TRAINING_WITHIN_S = 600
PROJECT = 1

Ask = Callable[[], requests.Response]


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cytoloop-") as home:
        loop = Loop(Path(home))
        try:
            loop.up()
            asks = asks_of(loop)
            idle = {name: timed(ask) for name, ask in asks.items()}
            start_training(loop)
            busy = {name: timed(ask) for name, ask in asks.items()}
            states = [run["state"] for run in loop.status()["projects"][0]["runs"]]
        finally:
            loop.stop()
    print(f"{'':<10}{'idle, ms':^27}{'while training, ms':^27}{'ratio':^27}")
    print(f"{'':<10}" + "".join(f"{name:>9}" for name in QUANTILES) * 3)
    for name in asks:
        print(f"{name:<10}{figures(idle[name], busy[name])}")
    print(f"load {load:.1f} before it began; at the end the runs were {', '.join(states)}")


def figures(idle: Sequence[float], busy: Sequence[float]) -> str:
    """Return the quantiles of both in milliseconds, and their ratios, as part of a line."""
    one, other = (1000 * np.quantile(took, list(QUANTILES.values())) for took in (idle, busy))
    return "".join(f"{value:>9.1f}" for value in (*one, *other, *(other / one)))


def asks_of(loop: Loop) -> dict[str, tuple[int, Ask]]:
    """Return what is asked, and how often."""
    session, address = loop.session(), loop.address
    project = loop.label_studio.project(PROJECT)
    task = next(iter(loop.label_studio.tasks(PROJECT)))
    event = annotation_of(project, task)
    secret = {SECRET_HEADER: loop.credentials.webhook_secret}
    setup = {"project": f"{PROJECT}.1", "schema": project["label_config"]}
    return {
        "/health": (ASKED, lambda: session.get(f"{address}/health")),
        "/setup": (ASKED, lambda: session.post(f"{address}/setup", json=setup)),
        "/webhook": (ASKED, lambda: session.post(f"{address}/webhook", json=event, headers=secret)),
        "/predict": (PREDICTED, predict(loop, task)),
    }


def predict(loop: Loop, task: dict[str, Any]) -> Ask:
    """Return what asks for the boxes of a task."""
    session, address = loop.session(), loop.address
    asked = {"project": f"{PROJECT}.1", "tasks": [{"id": task["id"], "data": task["data"]}]}
    return lambda: session.post(f"{address}/predict", json=asked)


def annotation_of(project: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """Return an ANNOTATION_CREATED event of many boxes, skipped so that it counts for nothing."""
    value = {"x": 10, "y": 10, "width": 5, "height": 5, "rotation": 0}
    regions = [
        {"id": f"r{n}", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
         "value": {**value, "rectanglelabels": ["Nucleus"]}}
        for n in range(BOXES)
    ]  # fmt: skip
    now = "2026-01-01T00:00:00.000000Z"
    annotation = {
        "id": 10**6, "task": task["id"], "project": PROJECT, "result": regions,
        "was_cancelled": True, "created_at": now, "updated_at": now,
    }  # fmt: skip
    kept = {"id": PROJECT, "title": project["title"], "label_config": project["label_config"]}
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": annotation,
        "project": kept,
        "task": {"id": task["id"], "data": task["data"]},
    }


def timed(asked: tuple[int, Ask]) -> list[float]:
    """Return the seconds of each answer; the first, which warms up, is not counted."""
    number, ask = asked
    took = []
    for _ in range(number + 1):
        began = time.perf_counter()
        ask().raise_for_status()
        took.append(time.perf_counter() - began)
    return took[1:]


def start_training(loop: Loop) -> None:
    """Submit what is found in five tasks, and wait until the training is under way."""
    studio = loop.label_studio
    for task in list(studio.tasks(PROJECT))[-SUBMITTED:]:
        answer = predict(loop, task)()
        studio.create_annotation(task["id"], answer.json()["results"][0]["result"])
    wait_for(lambda: is_training(loop), TRAINING_WITHIN_S)


def is_training(loop: Loop) -> bool:
    (project,) = loop.status()["projects"]
    return any(run["stage"] == "training" for run in project["runs"])


if __name__ == "__main__":
    main()
