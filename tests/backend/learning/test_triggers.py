from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from backend.errors import NotFound, QueueError, Refused
from backend.learning.pipeline import learn
from backend.learning.taken import is_taken, project_folder, run_folder, take
from backend.learning.triggers import (
    after_correction,
    push_champions,
    requeue_pending,
    retry,
    start_training,
    take_up,
    take_up_killed,
    take_up_lost,
)
from backend.queue import JobQueue
from backend.services import Services
from model.classical.detector import classical_version
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import LABEL_CONFIG, LEARN, PUSH, show_images, waiting


@pytest.fixture(autouse=True)
def shown(services: Services, project: int) -> None:
    """Images of the tasks that are corrected here."""
    show_images(services.images, project, range(10))


def send_redis_away(services: Services) -> None:
    services.__dict__["queue"] = JobQueue("unix:///nowhere/redis.sock", 60, "")


def bring_redis_back(services: Services) -> None:
    del services.__dict__["queue"]


def test_below_the_first_milestone_nothing_is_queued(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(4))
    assert after_correction(services, project) is None
    assert waiting(services) == []


def test_a_milestone_queues_one_job(services: Services, project: int, correct: Any) -> None:
    correct(range(5))
    run = after_correction(services, project)
    assert run is not None
    assert (run.milestone, run.trigger, run.state) == (5, "milestone", "queued")
    assert waiting(services) == [f"{LEARN}-{run.id}"]


def test_doubled_events_at_once_queue_one_job(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(5))
    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(lambda _: after_correction(services, project), range(16)))
    assert len([run for run in runs if run]) == 1
    assert len(services.runs.all(project)) == 1
    assert len(waiting(services)) == 1


def test_projects_have_milestones_of_their_own(
    services: Services, project: int, correct: Any
) -> None:
    services.projects.change(project, milestones=[3])
    correct(range(3))
    run = after_correction(services, project)
    assert run is not None
    assert run.milestone == 3


def test_the_button_opens_a_run_at_the_present_count(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(3))
    run = start_training(services, project)
    assert (run.milestone, run.attempt, run.trigger) == (3, 1, "button")
    assert waiting(services) == [f"{LEARN}-{run.id}"]


def test_the_button_pressed_by_many_at_once_opens_one_run(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(3))
    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(lambda _: start_training(services, project), range(8)))
    assert len({run.id for run in runs}) == 1
    assert len(waiting(services)) == 1


def test_the_button_returns_the_run_that_is_active(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(5))
    milestone = after_correction(services, project)
    assert milestone is not None
    assert start_training(services, project).id == milestone.id


def test_the_button_tries_again_after_a_failure(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(5))
    first = after_correction(services, project)
    assert first is not None
    services.runs.finish(first.id, "failed")
    second = start_training(services, project)
    assert (second.milestone, second.attempt, second.state) == (5, 2, "queued")


def test_another_attempt_at_the_milestone_of_a_run_that_ended_is_queued(
    services: Services, project: int
) -> None:
    first = services.runs.open(project, 5, "milestone")
    assert first is not None
    services.runs.finish(first.id, "failed")
    again = retry(services, first.id)
    assert (again.milestone, again.attempt, again.state) == (5, 2, "queued")
    assert waiting(services) == [f"{LEARN}-{again.id}"]
    with pytest.raises(Refused, match=f"Run {again.id} of project 1 has not ended"):
        retry(services, first.id)


def test_the_button_of_an_unknown_project_is_refused(services: Services) -> None:
    with pytest.raises(NotFound, match="Project 9"):
        start_training(services, 9)


def test_with_redis_away_the_run_waits_and_is_queued_by_the_next_correction(
    services: Services, project: int, correct: Any
) -> None:
    send_redis_away(services)
    correct(range(5))
    with pytest.raises(QueueError, match="kept"):
        after_correction(services, project)
    assert [run.state for run in services.runs.all(project)] == ["queued"]
    bring_redis_back(services)
    correct(range(5, 6))
    assert after_correction(services, project) is None
    assert waiting(services) == [f"{LEARN}-{services.runs.all(project)[0].id}"]


def test_a_waiting_run_is_queued_once_when_something_starts(
    services: Services, project: int
) -> None:
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    for _ in range(2):
        assert [r.id for r in requeue_pending(services)] == [run.id]
    assert waiting(services) == [f"{LEARN}-{run.id}"]


def test_a_run_has_no_job_while_another_of_its_project_is_worked_on(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(5))
    with take(project_folder(services.settings, project)):
        run = after_correction(services, project)
        assert run is not None
        learn(services, run.id)
        assert take_up(services) == []
    assert services.runs.get(run.id).state == "queued"
    assert waiting(services) == []
    assert [r.id for r in requeue_pending(services)] == [run.id]
    assert waiting(services) == [f"{LEARN}-{run.id}"]


def test_many_who_ask_at_once_whether_a_run_is_worked_on_do_not_see_each_other(
    services: Services, project: int
) -> None:
    folder = project_folder(services.settings, project)
    with take(folder) as free:
        assert free
        assert is_taken(folder)
    with ThreadPoolExecutor(8) as threads:
        assert not any(threads.map(lambda _: is_taken(folder), range(400)))


def test_a_run_whose_worker_died_is_taken_up_again(services: Services, project: int) -> None:
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    assert [r.id for r in take_up(services)] == [run.id]
    again = services.runs.get(run.id)
    assert (again.state, again.cut_offs) == ("queued", 1)
    assert again.message.startswith("Its process ended before it was done")
    assert waiting(services) == [f"{LEARN}-{run.id}"]


@pytest.mark.parametrize("is_seen_by_the_poll", [False, True])
def test_a_death_counts_once_whoever_sees_it_first(
    services: Services, project: int, is_seen_by_the_poll: bool
) -> None:
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    if is_seen_by_the_poll:
        take_up_lost(services)
    take_up_killed(services, run.id, "was killed (SIGKILL)")
    again = services.runs.get(run.id)
    assert (again.state, again.cut_offs) == ("queued", 1)
    assert waiting(services) == [f"{LEARN}-{run.id}"]


def test_the_job_that_a_dead_worker_of_another_host_left_does_not_hold_up_its_run(
    services: Services, project: int
) -> None:
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.queue.enqueue_learn(run.id)
    with Redis.from_url(services.settings.redis_address) as connection:
        connection.delete(f"rq:queue:{LEARN}")  # as if a worker had taken it
    services.runs.start(run.id)
    take_up(services)
    assert waiting(services) == [f"{LEARN}-{run.id}"]


def test_a_run_that_another_process_works_on_is_left_alone(
    services: Services, project: int
) -> None:
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    with take(run_folder(services.settings, run.id)) as free:
        assert free
        assert take_up(services) == []
    assert services.runs.get(run.id).state == "running"


def test_a_champion_that_cannot_be_told_holds_up_the_push_of_no_other_project(
    services: Services, project: int
) -> None:
    services.projects.ensure(2, "proj2", LABEL_CONFIG)
    better = replace(classical_version(), id="trained-1", kind="trained")
    services.registry.add(better, ContrastGroups.none(), weights=None)
    for key in ("1", "2"):
        services.registry.promote(key, better.id)
    (services.settings.registry_folder / "champions" / "1.json").write_text("{")
    push_champions(services)
    assert waiting(services, PUSH) == [f"{PUSH}-2-{better.id}"]
