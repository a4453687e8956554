"""kill -9 of the real Label Studio while a run asks it for corrections, and while it gets boxes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.pids import descendants
from backend.services import Services, build_services
from backend.settings import Settings
from backend.store.runs import Run
from model.generated.fields import HARD, generate_field
from tests.e2e.margin import with_margin

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SIZE, CELLS, FIELDS, CORRECTED, ITERATIONS = 192, 14, 15, 5, 60
PROJECT = 1
TRAINS_WITHIN_S, PUSHES_WITHIN_S = 1200, 180


@pytest.fixture
def loop(make_loop: Callable[..., Any], tmp_path: Path) -> Any:
    """A loop on a folder of hard fields."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for n in range(FIELDS):
        tifffile.imwrite(folder / f"slide-{n}.tif", field_of(f"slide-{n}.tif").pixels)
    settings = {"CYTOLOOP_MILESTONES": str(CORRECTED), "CYTOLOOP_ITERATIONS": str(ITERATIONS)}
    loop = make_loop(**settings)
    loop.up("--images", str(folder))
    return loop


@pytest.fixture
def services(loop: Any) -> Any:
    built = build_services(Settings(home=loop.home))
    yield built
    built.engine.dispose()


def test_killed_at_the_snapshot_and_in_the_push_it_gets_all_boxes_in_the_end(
    loop: Any, services: Services, wait: Callable[..., Any]
) -> None:
    tasks = sorted(loop.label_studio.tasks(PROJECT), key=lambda task: task["id"])
    for task in tasks[:CORRECTED]:
        submit_truth(loop, task)

    wait(lambda: stage_of(services) == "snapshot", 60, every_s=0.001)
    kill_label_studio_under_the_job(loop)
    assert wait(lambda: loop.said.count("✓ Label Studio") == 2, 120)
    run = wait(lambda: ended(services), TRAINS_WITHIN_S)
    assert run.state == "promoted", run
    assert (run.milestone, run.corrected) == (CORRECTED, CORRECTED)

    open_tasks = [task["id"] for task in tasks[CORRECTED:]]
    wait(lambda: any(is_served(services, id, run) for id in open_tasks), 120, every_s=0.001)
    kill_label_studio_under_the_job(loop)
    assert wait(lambda: loop.said.count("✓ Label Studio") == 3, 120)
    served = services.registry.served_name(str(PROJECT))
    assert served.startswith(f"{run.candidate}+")
    wait(lambda: services.projects.get(PROJECT).pushed == served, PUSHES_WITHIN_S)
    for id in open_tasks:
        names = [p["model_version"] for p in loop.label_studio.task(id)["predictions"]]
        assert names.count(served) == 1
    assert loop.label_studio.project(PROJECT)["model_version"] == served
    assert [run.id for run in services.runs.all(PROJECT)] == [run.id]


def field_of(name: str) -> Any:
    return generate_field(100 + int(Path(name).stem.rpartition("-")[2]), (SIZE, SIZE), CELLS, HARD)


def submit_truth(loop: Any, task: dict[str, Any]) -> None:
    studio = loop.label_studio
    interface = LabellingInterface.parse(studio.project(PROJECT)["label_config"])
    boxes = [with_margin(box, SIZE) for box in field_of(task["data"]["name"]).boxes]
    studio.create_annotation(task["id"], to_regions(boxes, SIZE, SIZE, interface))


def stage_of(services: Services) -> str:
    return next((run.stage for run in services.runs.all(PROJECT)), "")


def ended(services: Services) -> Run | None:
    return next((run for run in services.runs.all(PROJECT) if not run.is_active), None)


def is_served(services: Services, task: int, run: Run) -> bool:
    served = services.predictions.last_shown(PROJECT, task)
    return served is not None and served.served.startswith(f"{run.candidate}+")


def kill_label_studio_under_the_job(loop: Any) -> None:
    """Halt the job where it is, kill Label Studio, and let the job find out."""
    jobs = descendants(process_of(loop, b"\0worker\0"))
    for job in jobs:
        os.kill(job, signal.SIGSTOP)
    assert jobs
    os.kill(process_of(loop, b"label-studio\0start\0"), signal.SIGKILL)
    for job in jobs:
        os.kill(job, signal.SIGCONT)


def process_of(loop: Any, command: bytes) -> int:
    return next(
        pid for pid in loop.processes() if command in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
