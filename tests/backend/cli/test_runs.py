from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.datasets.label_config import label_config_of
from backend.services import Services, build_services
from backend.settings import Settings
from backend.store.runs import Run
from tests.backend.conftest import no_room

CONFIG = label_config_of(("Cell",))


@pytest.fixture
def cytoloop(run: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, with a Redis."""
    monkeypatch.setenv("CYTOLOOP_REDIS_URL", redis_url)
    return run


@pytest.fixture
def services(home: Path) -> Iterator[Services]:
    built = build_services(Settings(home=home))
    built.projects.ensure(1, "proj1", CONFIG)
    yield built
    built.engine.dispose()


def running(services: Services, **progress: Any) -> Run:
    run = services.runs.open(1, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    services.runs.progress(run.id, **progress)
    return services.runs.get(run.id)


def test_runs_are_shown_from_a_home_on_a_full_disk(services: Services, cytoloop: Any) -> None:
    run = running(services, stage="training", fraction=0.4)
    services.engine.dispose()
    with no_room():
        listed, shown = cytoloop("runs", "list"), cytoloop("runs", "show", run.id)
    assert [each.exit_code for each in (listed, shown)] == [0, 0]


def test_the_list_shows_how_far_each_run_is(services: Services, cytoloop: Any) -> None:
    ended = services.runs.open(1, 10, "button")
    assert ended is not None
    services.runs.finish(ended.id, "refused", "Not better.\nA note.", ap50=0.4321)
    run = running(services, stage="training", fraction=0.42, message="step 8", seconds_left=75.2)
    heading, *rows = cytoloop("runs", "list").stdout.splitlines()
    assert heading.split() == [
        "run",
        "project",
        "at",
        "attempt",
        "state",
        "done",
        "AP50",
        "left",
        "what",
    ]
    assert rows[0].split(maxsplit=6)[:6] == [str(run.id), "1", "5", "1", "running", "42%"]
    assert "1 min 15 s" in rows[0]
    assert rows[1].endswith("Not better.")
    assert "0.432" in rows[1]
    [first, _] = json.loads(cytoloop("runs", "list", "--project", "1", "--json").stdout)
    assert (first["job"], first["stage"], first["seconds_left"]) == (str(run.id), "training", 75.2)


def test_the_list_says_once_how_long_a_stopped_run_has_left(
    services: Services, cytoloop: Any
) -> None:
    running(services, state="queued", stage="", message="It was stopped.", seconds_left=75.2)
    _, row = cytoloop("runs", "list").stdout.splitlines()
    assert row.endswith("1 min 15 s  It was stopped.")


def test_show_says_where_a_run_is(services: Services, cytoloop: Any) -> None:
    run = running(services, stage="training", iteration=30, iterations=120, loss=0.5, ap50=0.7)
    said = cytoloop("runs", "show", str(run.id)).stdout
    assert "steps       30 of 120, loss 0.500" in said
    assert "stage       training" in said
    assert "AP50        0.700 so far" in said
    assert json.loads(cytoloop("runs", "show", str(run.id), "--json").stdout)["iteration"] == 30


def test_show_follows_a_run_to_its_end(
    services: Services, cytoloop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, waits = running(services, stage="training", fraction=0.5), list[float]()

    def end(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            services.runs.finish(run.id, "refused", message="Not better.")

    monkeypatch.setattr("backend.cli.runs.time", SimpleNamespace(sleep=end))
    said = cytoloop("runs", "show", str(run.id), "--follow").stdout
    assert waits == [0.5] * 3
    assert "state       refused" in said
    assert "Not better." in said


def test_a_run_is_cancelled_once_and_tried_again_as_the_next_attempt(
    services: Services, cytoloop: Any
) -> None:
    run = running(services, fraction=0.1)
    assert "has not ended" in cytoloop("runs", "retry", str(run.id)).stderr
    assert f"Run {run.id} is cancelled" in cytoloop("runs", "cancel", str(run.id)).stdout
    assert "has ended already (cancelled).\n" in cytoloop("runs", "cancel", str(run.id)).stderr
    assert "attempt 2 at 5 corrected images" in cytoloop("runs", "retry", str(run.id)).stdout
    again = services.runs.active(1)
    assert again is not None
    assert (again.milestone, again.attempt, again.state) == (5, 2, "queued")


def test_what_is_being_promoted_is_not_cancelled_but_can_be_rolled_back(
    services: Services, cytoloop: Any
) -> None:
    run = running(services, stage="promoting")
    back = "; `cytoloop models rollback` returns to the champion before"
    assert f"is being promoted{back}" in cytoloop("runs", "cancel", str(run.id)).stderr
    assert services.runs.get(run.id).is_active
    services.runs.finish(run.id, "promoted")
    told = cytoloop("runs", "cancel", str(run.id)).stderr
    assert f"has ended already (promoted){back}" in told


def test_a_run_that_is_not_there_is_said_so(services: Services, cytoloop: Any) -> None:
    assert "There is no run 9" in cytoloop("runs", "show", "9").stderr
