from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from backend.effort.measuring import measure
from backend.errors import LabelStudioError
from backend.labelstudio.annotation import Annotation
from backend.learning.backoff import FIRST_S
from backend.learning.pipeline import learn
from backend.learning.poll import Poll
from backend.learning.problems import Problems
from backend.learning.taken import run_folder, take
from backend.services import Services
from backend.store.predictions import StoredPrediction
from backend.store.runs import PROMOTING
from model.classical.detector import CLASSICAL_ID, classical_version
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import LEARN, PUSH, waiting
from tests.backend.learning.conftest import (
    FILES,
    START,
    Clock,
    annotation_of,
    corrected,
    runs_of,
    seconds_about,
    task_of,
)


def add_champion(services: Services, project: int) -> str:
    better = replace(classical_version(), id="trained-1", kind="trained")
    services.registry.add(better, ContrastGroups.none(), weights=None)
    services.registry.promote(str(project), better.id)
    return better.id


def test_corrections_whose_events_were_all_lost_open_their_run(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    label_studio(corrected(1, 2, 3, 4, 5), FILES)
    assert poll.look()
    [run] = runs_of(services, project)
    assert (run.milestone, run.trigger, run.state) == (5, "milestone", "queued")
    assert waiting(services, LEARN) == [f"{LEARN}-{run.id}"]


def test_while_nothing_changes_no_task_is_asked_for(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2, 3, 4, 5), FILES)
    for _ in range(3):
        poll.look()
    assert recorded.asked == ["all"]
    assert len(runs_of(services, project)) == 1


def test_of_many_tasks_those_that_changed_are_asked_for(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2, 3, 4), FILES)
    poll.look()
    recorded.given.append(*corrected(5))
    poll.look()
    assert recorded.asked == ["all", "changed"]
    assert services.annotations.corrected_count(project) == 5
    assert [run.milestone for run in runs_of(services, project)] == [5]


def test_how_many_tasks_there_are_is_kept_with_those_that_were_never_seen(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio([*corrected(1), task_of(2, 2)], FILES)
    poll.look()
    assert services.projects.get(project).tasks == 2
    assert services.images.known_tasks(project) == {1}
    recorded.given.pop()
    poll.look()
    assert services.projects.get(project).tasks == 1


def test_a_deleted_task_is_forgotten_also_where_as_many_came_in_meanwhile(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    poll.look()
    assert services.images.known_tasks(project) == {1, 2}
    services.annotations.delete(project, [1])  # as its event told
    recorded.given[:] = [*corrected(2), task_of(3, 3)]
    poll.look()
    assert services.images.known_tasks(project) == {2}
    recorded.given.append(task_of(4, 4))
    poll.look()
    assert recorded.asked == ["all", "changed", "all", "changed"]


def test_a_task_that_had_no_answer_is_told_once_and_asked_for_again_ever_more_rarely(
    services: Services,
    project: int,
    label_studio: Any,
    poll: Poll,
    clock: Clock,
    correct: Any,
    add_image: Any,
) -> None:
    recorded = label_studio(corrected(1, 2, 3, 4), FILES)
    correct([5, 6])
    add_image(6)
    asked, broken = recorded.listed_task, True

    def answer(project: int, id: int) -> Any:
        if broken and id == 6:
            raise LabelStudioError("Label Studio answered 500")
        return asked(project, id)

    recorded.listed_task = answer
    with capture_logs() as logs:
        for clock.now in seconds_about([1000, 1005, 1025], until=1100):
            assert poll.look()
    assert [line["reason"] for line in logs if line["event"] == "poll.problem"] == [
        "task 6 stays as it was known: Label Studio answered 500"
    ]
    assert recorded.asked == ["all"] * 3
    assert set(services.annotations.known(project)) == {1, 2, 3, 4, 7}
    assert [run.milestone for run in runs_of(services, project)] == [5]
    broken = False
    for clock.now in (1105, 1200):
        poll.look()
    assert set(services.annotations.known(project)) == {1, 2, 3, 4}
    assert recorded.asked == ["all"] * 4


def test_a_task_that_is_not_listed_ends_no_look_and_all_are_asked_for_again_till_it_is(
    services: Services, project: int, label_studio: Any, poll: Poll, clock: Clock
) -> None:
    recorded = label_studio(corrected(1, 2, 3, 4, 5), FILES)
    poll.look()
    recorded.given += corrected(6, 7)
    recorded.unlisted = {6}
    with capture_logs() as logs:
        for _ in range(2):
            assert poll.look()
    assert [line["reason"] for line in logs if line["event"] == "poll.problem"] == [
        "Not listed by Label Studio: 1 task; the first: Label Studio answered 500 to GET /api/tasks"
    ]
    assert recorded.asked == ["all", "changed", "all"]
    assert services.annotations.corrected_count(project) == 6
    recorded.unlisted = set()
    clock.now += 3600
    poll.look()
    assert services.annotations.corrected_count(project) == 7
    assert recorded.asked == ["all", "changed", "all", "all"]


def test_corrections_whose_images_cannot_be_had_count_when_these_come_and_are_told_until_then(
    services: Services,
    project: int,
    label_studio: Any,
    poll: Poll,
    problems: Problems,
    clock: Clock,
) -> None:
    files = {address: FILES[address] for address in list(FILES)[:4]}
    recorded = label_studio(corrected(1, 2, 3, 4, 5), files)
    tried = []
    fetched = recorded.download

    def download(path: str) -> bytes:
        tried.append(clock.now)
        return fetched(path)

    recorded.download = download
    expected = [1000, 1005, 1025, 1105, 1425]
    with capture_logs() as logs:
        for clock.now in seconds_about(expected, until=1500):
            assert poll.look()
    assert sorted(set(tried)) == expected
    assert recorded.asked == ["all"]
    assert runs_of(services, project) == []
    told = problems.of(project)
    assert told.startswith("Not counted, since their image cannot be had: 2 corrected tasks; ")
    assert told.endswith("task 4: GET /data/4.png: It is not there")
    assert [line["reason"] for line in logs if line["event"] == "poll.problem"] == [told]
    recorded.files = FILES
    clock.now += 3600
    poll.look()
    assert problems.of(project) == ""
    assert [run.milestone for run in runs_of(services, project)] == [5]


def test_an_update_whose_event_was_lost_replaces(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    poll.look()
    recorded.given[0] = task_of(1, 9, annotation_of(1, 9))
    poll.look()
    [updated] = [a for a in services.annotations.corrected(project) if a.task == 1]
    assert updated.updated_at == START + timedelta(minutes=9)


def test_a_deleted_annotation_is_forgotten_with_its_task_kept(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2, 3), FILES)
    poll.look()
    recorded.given[1] = task_of(2, 9)
    poll.look()
    assert recorded.asked == ["all", "changed"]
    assert [a.task for a in services.annotations.corrected(project)] == [1, 3]


def test_a_late_event_does_not_bring_back_what_was_deleted_before_it_was_seen(
    services: Services, project: int, label_studio: Any, poll: Poll, correct: Any
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    poll.look()
    correct([7], id=7)
    assert set(services.annotations.known(project)) == {1, 2, 7}
    for _ in range(2):
        poll.look()
    assert set(services.annotations.known(project)) == {1, 2}
    assert recorded.asked == ["all", "changed", "all"]


def test_such_an_event_that_comes_during_a_look_is_forgotten_by_the_next(
    services: Services, project: int, label_studio: Any, poll: Poll, correct: Any
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    listed = recorded.tasks

    def tasks(id: int, on_unlisted: Any) -> Any:
        correct([7], id=7)
        recorded.tasks = listed
        return listed(id, on_unlisted)

    recorded.tasks = tasks
    poll.look()
    assert set(services.annotations.known(project)) == {1, 2, 7}
    poll.look()
    assert set(services.annotations.known(project)) == {1, 2}


def test_an_annotation_that_comes_back_under_its_number_does_not_have_all_tasks_asked_for_ever(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    services.annotations.delete(project, [2])
    for _ in range(3):
        poll.look()
    assert recorded.asked == ["all"]


def test_annotations_that_label_studio_has_again_count_again(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2, 3), FILES)
    poll.look()
    whole = list(recorded.given)
    recorded.given[1:] = [task_of(2, 9), task_of(3, 9)]
    poll.look()
    assert services.annotations.corrected_count(project) == 1
    recorded.given[:] = whole  # put back from a copy
    poll.look()
    assert set(services.annotations.known(project)) == {1, 2, 3}
    assert recorded.asked == ["all", "changed", "all"]


def test_an_annotation_is_as_label_studio_has_it_where_that_was_put_back_from_an_older_copy(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    poll.look()
    older = list(recorded.given)
    recorded.given[0] = task_of(1, 9, annotation_of(1, 9) | {"lead_time": 60.0})
    poll.look()
    assert sorted(c.totals_s for c in measure(services, project)) == [(), (60.0,)]
    recorded.given[:] = older
    poll.look()
    minutes = [a.updated_at - START for a in services.annotations.corrected(project)]
    assert minutes == [timedelta(minutes=1), timedelta(minutes=2)]
    assert [c.totals_s for c in measure(services, project)] == [(), ()]


def test_an_update_is_taken_where_the_clock_of_label_studio_was_set_back(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio([task_of(1, 40, annotation_of(1, 40)), *corrected(2)], FILES)
    recorded.given.append(task_of(3, 50, annotation_of(3, 50)))
    poll.look()
    updated = annotation_of(1, 20) | {"result": [{"id": "new"}]}
    recorded.given[0] = task_of(1, 20, updated)
    assert not services.annotations.record(Annotation.from_label_studio(updated, project, 1))
    for _ in range(2):
        poll.look()
    [held] = [a for a in services.annotations.corrected(project) if a.task == 1]
    assert held.result == ({"id": "new"},)
    assert recorded.asked == ["all", "all"]


def test_an_event_that_comes_twice_or_after_a_deletion_has_no_task_asked_for(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    services.annotations.record(Annotation.from_label_studio(annotation_of(9), project, 1))
    poll.look()
    for id in (1, 9):
        event = annotation_of(id, id % 9)
        assert not services.annotations.record(Annotation.from_label_studio(event, project, 1))
    poll.look()
    assert recorded.asked == ["all"]


def test_a_deleted_task_goes_with_its_annotation_and_its_image_is_shown_no_more(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2), FILES)
    poll.look()
    recorded.given.clear()
    poll.look()
    assert services.annotations.corrected_count(project) == 0
    assert [image.task for image in services.images.all(project)] == [None, None]
    assert services.images.of_task(project, 1) is None


def test_a_skipped_task_is_recorded_and_teaches_nothing(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    label_studio([task_of(1, 1, annotation_of(1, 1, skipped=True))], FILES)
    poll.look()
    assert set(services.annotations.known(project)) == {1}
    assert services.annotations.corrected_count(project) == 0


def test_a_changed_label_config_is_followed_and_one_without_boxes_is_not(
    services: Services, project: int, label_studio: Any, poll: Poll, problems: Problems
) -> None:
    recorded = label_studio(corrected(1), FILES)
    recorded.described["label_config"] = recorded.described["label_config"].replace(
        "Debris", "Dust"
    )
    assert poll.look()
    assert services.projects.get(project).classes == ("Cell", "Dust")
    recorded.described["label_config"] = "<View/>"
    recorded.given.append(task_of(2, 9, annotation_of(9, 9)))
    assert poll.look()
    assert services.projects.get(project).classes == ("Cell", "Dust")
    assert "draws no boxes on an image" in problems.of(project)
    assert services.annotations.corrected_count(project) == 2
    recorded.described["label_config"] = services.projects.get(project).label_config
    assert poll.look()
    assert problems.of(project) == ""


def test_a_deleted_project_is_gone_until_label_studio_has_it_again(
    services: Services, project: int, label_studio: Any, poll: Poll, clock: Clock
) -> None:
    recorded = label_studio(corrected(1), FILES)
    described, recorded.described = recorded.described, None
    poll.look()
    assert services.projects.all() == []
    assert [p.id for p in services.projects.all(gone=True)] == [project]
    recorded.described = described
    clock.now += FIRST_S
    assert poll.look()
    assert [p.id for p in services.projects.all()] == [project]


def test_the_runs_of_a_deleted_project_end_unless_one_is_about_to_be_promoted(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    runs = [services.runs.open(project, milestone, "milestone") for milestone in (5, 10, 20)]
    waiting, training, promoting = (run.id for run in runs if run)
    for id, stage in ((training, "training"), (promoting, PROMOTING)):
        services.runs.start(id)
        services.runs.progress(id, stage=stage)
    label_studio().described = None
    with take(run_folder(services.settings, training)):
        with take(run_folder(services.settings, promoting)):
            poll.look()
        for id in (waiting, training):
            ended = services.runs.get(id)
            assert ended.state == "cancelled"
            assert ended.message.startswith("The project is not in Label Studio any more. GET ")
        assert services.runs.get(promoting).state == "running"


def test_a_run_of_a_deleted_project_ends_and_says_why(
    services: Services, project: int, label_studio: Any
) -> None:
    label_studio().described = None
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    learn(services, run.id)
    ended = services.runs.get(run.id)
    assert ended.state == "cancelled"
    assert ended.message.startswith("The project is not in Label Studio any more.")


def test_a_champion_whose_push_was_lost_is_pushed_once_and_no_more_when_it_is_done(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    label_studio()
    poll.look()
    assert waiting(services, PUSH) == []
    better = add_champion(services, project)
    for _ in range(2):
        poll.look()
    assert waiting(services, PUSH) == [f"{PUSH}-{project}-{better}"]
    services.projects.set_pushed(project, services.registry.served_name(str(project)))
    with Redis.from_url(services.settings.redis_address) as connection:
        connection.flushall()
    Poll(services, Problems()).look()
    assert waiting(services, PUSH) == []


def test_where_tasks_come_by_score_the_first_version_is_pushed_too(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio()
    recorded.described["sampling"] = "Uniform sampling"
    poll.look()
    assert waiting(services, PUSH) == []
    recorded.described["sampling"] = "Uncertainty sampling"
    poll.look()
    assert waiting(services, PUSH) == [f"{PUSH}-{project}-{CLASSICAL_ID}"]


@pytest.mark.parametrize("by_score", [True, False])
def test_tasks_that_come_after_a_push_are_pushed_once(
    services: Services,
    project: int,
    label_studio: Any,
    poll: Poll,
    clock: Clock,
    by_score: bool,
) -> None:
    champion = CLASSICAL_ID
    if not by_score:  # then boxes of the very first version are never pushed
        champion = add_champion(services, project)
    job, serves = f"{PUSH}-{project}-{champion}", services.registry.served_name(str(project))
    shown = task_of(1, 1) | {"predictions": [{"id": 1, "model_version": serves}]}
    recorded = label_studio([shown, *corrected(2)], FILES)
    recorded.described["sampling"] = f"{'Uncertainty' if by_score else 'Uniform'} sampling"

    def queued() -> list[str]:
        poll.look()
        return waiting(services, PUSH)

    def push_ends() -> None:
        services.projects.set_pushed(project, serves)
        with Redis.from_url(services.settings.redis_address) as connection:
            connection.flushall()

    push_ends()
    assert queued() == []
    recorded.given.append(task_of(3, 3))
    assert [queued(), queued()] == [[job]] * 2
    push_ends()  # the image of the new task is none
    assert [queued(), queued()] == [[]] * 2
    recorded.given += [task_of(4, 4), *corrected(5)]
    clock.now += FIRST_S
    assert queued() == [job]
    recorded.given.append(task_of(6, 6))
    clock.now += 3600
    assert queued() == [job]
    push_ends()  # one that had listed the tasks before the last of them came
    assert queued() == [job]


def test_tasks_that_lack_boxes_are_pushed_once_they_come_by_score(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    services.projects.set_pushed(project, services.registry.served_name(str(project)))
    recorded = label_studio([task_of(1, 1), *corrected(2)], FILES)
    poll.look()
    assert waiting(services, PUSH) == []
    recorded.described["sampling"] = "Uncertainty sampling"
    poll.look()
    assert waiting(services, PUSH) == [f"{PUSH}-{project}-{CLASSICAL_ID}"]


@pytest.mark.parametrize("given", [True, False])
def test_open_tasks_that_show_the_boxes_of_before_a_push_again_get_those_that_were_pushed(
    services: Services, project: int, label_studio: Any, poll: Poll, add_image: Any, given: bool
) -> None:
    better = add_champion(services, project)
    served = services.registry.served_name(str(project))
    sha256 = add_image(1)
    if given:  # else it could not be looked at, and never will
        services.predictions.put(StoredPrediction(project, 1, sha256, 0, served, []))
    services.projects.set_pushed(project, served)
    label_studio([task_of(1, 1) | {"predictions": [{"id": 1, "model_version": "former+p"}]}], FILES)
    poll.look()
    assert waiting(services, PUSH) == [f"{PUSH}-{project}-{better}"] * given


def test_a_push_that_fails_is_queued_again_soon_at_first_and_then_ever_more_rarely(
    services: Services, project: int, label_studio: Any, poll: Poll, clock: Clock
) -> None:
    label_studio()
    add_champion(services, project)
    expected, queued = [1000, 1005, 1025, 1105, 1425], []
    with Redis.from_url(services.settings.redis_address) as connection:
        for clock.now in seconds_about(expected, until=2000):
            poll.look()
            if waiting(services, PUSH):
                queued.append(clock.now)
                connection.flushall()  # the worker took it up and was killed
    assert queued == expected


def test_a_champion_that_serves_again_is_pushed_at_once_however_often_that_failed_before(
    services: Services, project: int, label_studio: Any, poll: Poll, clock: Clock
) -> None:
    label_studio()
    for number in (1, 2):
        version = replace(classical_version(), id=f"trained-{number}", kind="trained")
        services.registry.add(version, ContrastGroups.none(), weights=None)
    queued = []
    with Redis.from_url(services.settings.redis_address) as connection:
        for serves in ("trained-1", "trained-1", "trained-2", "trained-1"):
            services.registry.promote(str(project), serves)
            poll.look()
            queued.append(waiting(services, PUSH))
            connection.flushall()
    job = f"{PUSH}-{project}-trained"
    assert queued == [[f"{job}-1"], [], [f"{job}-2"], [f"{job}-1"]]
