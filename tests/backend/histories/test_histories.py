"""Random orders of events, losses, delays and kills, played against a model of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import delete, update

from backend import jobs
from backend.labelstudio.annotation import Annotation
from backend.learning import backoff, pipeline, promoting
from backend.learning.following import FollowedProject
from backend.learning.reconcile import reconcile
from backend.queue import JobQueue
from backend.store.annotations import Annotations
from backend.store.runs import Run, Runs, Trigger
from backend.store.tables import annotations, runs
from tests.backend.histories.installation import Installation, Place
from tests.backend.histories.machine import Histories
from tests.conftest import log_plainly

pytestmark = pytest.mark.integration


SHORT, SOAK, STEPS = 16, 420, 60
KINDS = (
    *("submitted", "skipped", "updated", "skipped or submitted after all", "annotation deleted"),
    "taken back",
    *("task deleted", "tasks imported", "project deleted", "project back"),
    *("config changed", "config without boxes"),
    *("event in_order", "event out_of_order", "event doubled", "event lost", "event deadly"),
    *("look whole", "look killed", "look studio_goes_away", "quiet"),
    *("web restarted", "worker started", "Redis flushed", "Redis away", "Redis back"),
    *("button pressed", "cancelled", "tried again"),
    *("run alone", "run killed", "run away", "run of_no_project"),
    *("run corrected", "run cancelled", "run twice"),
)
#: A run that was killed waits again, or counts as running until the worker starts.
ENDS = ("promoted", "refused", "failed", "cancelled", "queued", "running")

Plant = Callable[[pytest.MonkeyPatch], None]


def dropped_dedupe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record whatever comes, however late."""
    record = Annotations.record

    def record_always(self: Annotations, annotation: Annotation, *_: object) -> bool:
        with self._engine.begin() as connection:
            connection.execute(delete(annotations).where(annotations.c.id == annotation.id))
        return record(self, annotation)

    monkeypatch.setattr(Annotations, "record", record_always)


def lost_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete nothing."""
    monkeypatch.setattr(Annotations, "delete", lambda *_: 0)


def doubled_milestone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a reached milestone again although it was already opened."""
    opened = Runs.open

    def open_again(self: Runs, project: int, milestone: int, trigger: Trigger) -> Run | None:
        run = opened(self, project, milestone, "button")
        with self._engine.begin() as connection:
            connection.execute(
                update(runs).where(runs.c.id == (run and run.id)).values(trigger=trigger)
            )
        return run

    monkeypatch.setattr(Runs, "milestones_done", lambda *_: set())
    monkeypatch.setattr(Runs, "open", open_again)


def blind_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Miss each late event that brings back what was deleted."""
    monkeypatch.setattr(FollowedProject, "_stored", lambda _: 0)
    monkeypatch.setattr(
        FollowedProject,
        "_reconcile",
        lambda self, _: replace(reconcile(self._services, self._id), kept=0),
    )


#: Each fault, and what it leaves that is not as the model says.
PLANTS = {
    dropped_dedupe: "annotation",
    lost_deletion: "annotation",
    doubled_milestone: "run",
    blind_poll: "annotation",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Place:
    return Place(tmp_path_factory.mktemp("histories"), redis_url)


@pytest.fixture
def histories(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Histories]]:
    """Histories on installations whose jobs run in this process."""
    installed: list[Installation] = []

    def install() -> Installation:
        installed[:] = [Place.install(place)]
        return installed[0]

    def training(name: str) -> Any:
        return lambda *args, **kwargs: getattr(installed[0].training, name)(*args, **kwargs)

    monkeypatch.setattr(place, "install", install)
    monkeypatch.setattr(jobs, "_services", lambda: installed[0].as_in_the_worker())
    monkeypatch.setattr(jobs.os, "nice", lambda _: 0)
    monkeypatch.setattr(JobQueue, "run_worker", lambda *_, **__: None)
    monkeypatch.setattr(pipeline, "make_candidate", training("make_candidate"))
    monkeypatch.setattr(promoting, "judge_beside_champion", training("judge_beside_champion"))
    monkeypatch.setattr(promoting, "show_least_work", lambda *_: False)
    # What the poll puts off is due again at the next look.
    hours = (3600.0 * hour for hour in count())
    monkeypatch.setattr(backoff, "time", SimpleNamespace(monotonic=lambda: next(hours)))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield type(
        "PlacedHistories", (Histories,), {"place": place, "kinds": Counter(), "ends": Counter()}
    )
    log_plainly()


def play(histories: type[Histories], number: int, steps: int = STEPS) -> None:
    """Play the same histories each time; what fails is not made smaller, which takes an hour."""
    chosen = settings(
        max_examples=number,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(histories, settings=chosen)


@pytest.mark.timeout(4 * 3600)
def test_in_random_histories_the_store_and_the_runs_are_as_the_model_says(
    histories: type[Histories], pytestconfig: pytest.Config
) -> None:
    is_soak = pytestconfig.getoption("soak")
    play(histories, SOAK if is_soak else SHORT)
    kinds, ends = histories.kinds, histories.ends
    print(f"{kinds.total()} steps: {dict(kinds.most_common())}; runs ended as {dict(ends)}")
    if is_soak:
        assert kinds.total() >= 10_000
        assert {kind: kinds[kind] for kind in KINDS if kinds[kind] < 100} == {}
        assert {end: ends[end] for end in ENDS if ends[end] < 100} == {}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(
    histories: type[Histories], plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=f"{PLANTS[plant]} .+ is "):
        play(histories, SOAK)
