from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from backend.errors import LabelStudioError, LabelStudioMissing, LabelStudioSilent
from backend.learning.poll import Poll, start_polling
from backend.learning.problems import Problems
from backend.services import Services
from tests.backend.conftest import LEARN, waiting
from tests.backend.learning.conftest import (
    FILES,
    Clock,
    annotation_of,
    corrected,
    runs_of,
    seconds_about,
    task_of,
)


def test_what_annotators_are_called_is_asked_for_once(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    by_three = [{**annotation_of(n, n), "completed_by": n} for n in (1, 2, 4)]
    recorded = label_studio([task_of(n + 1, n, one) for n, one in enumerate(by_three)], FILES)
    recorded.known_users = [
        {"id": 1, "email": "ada@lab.org"},
        {"id": 3, "email": "eve@lab.org"},
        {"id": 4, "email": "Deleted"},
    ]
    for _ in range(3):
        assert poll.look()
    assert recorded.asked == ["all", "users"]
    assert services.annotators.names() == {"1": "ada@lab.org", "2": "2", "4": "4"}


def test_a_deleted_project_is_looked_for_ever_more_rarely_and_is_no_reason_to_look_soon(
    services: Services, project: int, label_studio: Any, poll: Poll, clock: Clock
) -> None:
    recorded = label_studio(corrected(1), FILES)
    asked: list[float] = []

    def missing(id: int) -> dict[str, Any]:
        asked.append(clock.now)
        raise LabelStudioMissing("It is not there")

    recorded.project = missing
    expected = [1000, 1005, 1025, 1105, 1425, 2025, 2625]
    for clock.now in seconds_about(expected, until=3000):
        assert poll.look()
    assert asked == expected


def test_one_project_that_is_gone_holds_up_no_other(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    recorded = label_studio(corrected(1, 2, 3, 4, 5), FILES)
    services.projects.ensure(0, "gone", services.projects.get(project).label_config)
    project_of = recorded.project
    recorded.project = lambda id: project_of(id) if id == project else {"title": "broken"}
    assert poll.look()
    assert len(runs_of(services, project)) == 1


def test_a_running_run_that_nobody_works_on_and_no_job_stands_for_is_taken_up(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    label_studio()
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    poll.look()
    assert services.runs.get(run.id).state == "queued"
    assert waiting(services, LEARN) == [f"{LEARN}-{run.id}"]


def test_a_champion_that_cannot_be_told_is_said_once_and_is_no_reason_to_look_soon(
    services: Services, project: int, label_studio: Any, poll: Poll
) -> None:
    label_studio(corrected(1, 2, 3, 4, 5), FILES)
    pointer = services.settings.registry_folder / "champions" / f"{project}.json"
    pointer.parent.mkdir(parents=True)
    pointer.write_text("{")
    with capture_logs() as logs:
        assert [poll.look() for _ in range(2)] == [True, True]
    (said,) = [line for line in logs if line["log_level"] in ("warning", "error")]
    assert f"{pointer} cannot be read" in said["reason"]
    assert len(runs_of(services, project)) == 1


@pytest.mark.parametrize("error", [LabelStudioError, LabelStudioSilent])
def test_a_project_that_is_refused_is_no_reason_to_look_soon_and_a_silent_label_studio_is_one(
    services: Services, project: int, label_studio: Any, poll: Poll, error: type[LabelStudioError]
) -> None:
    recorded = label_studio(corrected(1), FILES)

    def refuse(id: int) -> Any:
        raise error("Label Studio answered 403 to GET /api/projects/1/")

    recorded.project = refuse
    with capture_logs() as logs:
        assert poll.look() == (error is LabelStudioError)
    assert [line["event"] for line in logs] == ["poll.problem"]


def test_with_label_studio_away_the_watch_goes_on(services: Services, project: int) -> None:
    poll = Poll(services, Problems())
    assert not poll.look()
    assert services.projects.get(project).gone is False


def test_the_watch_looks_at_once_and_ends_when_told_with_the_look_that_it_is_at(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(corrected(1), FILES)
    looked, go_on = threading.Event(), threading.Event()
    asked = recorded.newest_change

    def newest_change(id: int) -> Any:
        looked.set()
        assert go_on.wait(10)
        return asked(id)

    recorded.newest_change = newest_change
    end = start_polling(services, Problems(), every_s=60)
    assert looked.wait(10)
    threading.Timer(0.1, go_on.set).start()
    end()
    assert not [thread for thread in threading.enumerate() if thread.name == "poll"]
    assert services.annotations.corrected_count(project) == 1


def test_a_watch_every_zero_seconds_is_none(services: Services) -> None:
    before = threading.active_count()
    start_polling(services, Problems(), every_s=0)
    assert threading.active_count() == before


def test_a_database_that_is_away_for_a_moment_does_not_end_the_watch(
    services: Services, project: int, label_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio(corrected(1), FILES)
    poll = Poll(services, Problems())
    with monkeypatch.context() as away:

        def broken(**_: Any) -> Any:
            raise OperationalError("SELECT", {}, Exception("database is locked"))

        away.setattr(services.projects, "all", broken)
        with capture_logs() as logs:
            assert [poll.look() for _ in range(2)] == [False, False]
        (said,) = logs
        assert said["reason"].startswith("The database cannot be read or written")
    assert poll.look()
    assert services.annotations.corrected_count(project) == 1
