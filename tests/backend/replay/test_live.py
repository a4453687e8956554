from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from backend.errors import BadRequest
from backend.labelstudio.client import LabelStudio
from backend.replay import live
from backend.replay.live import LiveDesk
from backend.services import Services
from backend.store.predictions import Watch
from backend.store.runs import State
from model.policy import Policy
from model.starter import STARTER_ID

SERVED = f"{STARTER_ID}+t0.4"
SHOWN = {"id": 7, "model_version": SERVED, "result": []}


class OpenTasks(LabelStudio):
    """Stands where Label Studio would: every task shows one prediction."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "")

    listed: ClassVar[list[dict[str, Any]]] = []

    def task(self, id: int) -> dict[str, Any]:
        return {"id": id, "predictions": [SHOWN]}

    def tasks(self, project: int) -> Iterator[dict[str, Any]]:
        return iter(self.listed)


@pytest.fixture
def desk(services: Services, project: int) -> LiveDesk:
    services.__dict__["label_studio"] = OpenTasks()
    return LiveDesk(services, services.projects.get(project))


def test_no_replay_is_played_where_tasks_open_otherwise_than_served(
    services: Services, project: int, desk: LiveDesk
) -> None:
    blank = Watch("blank", (), 0, ())
    for task, watch in ((1, None), (2, blank)):
        services.predictions.add(project, task, "0" * 64, 0, SERVED, [], watch=watch)
    assert desk.open(1).served == SERVED
    with pytest.raises(BadRequest, match="Task 2 opens blind"):
        desk.open(2)
    blind = services.projects.change(project, blind=True)
    with pytest.raises(BadRequest, match="--with-boxes"):
        LiveDesk(services, blind)


@pytest.fixture
def push(services: Services, project: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the open tasks the champion's boxes while the desk waits, and tell what was given."""
    given: list[str] = []

    def while_it_waits(_seconds: float) -> None:
        given.append(services.registry.served_name(str(project)))
        services.projects.set_pushed(project, given[-1])

    monkeypatch.setattr(live.time, "sleep", while_it_waits)
    return given


@pytest.fixture
def end_run(services: Services, project: int) -> Callable[[State], None]:
    """Return what ends a run at the first milestone."""

    def end(state: State) -> None:
        run = services.runs.open(project, 5, "milestone")
        assert run is not None
        services.runs.start(run.id)
        services.runs.finish(run.id, state)

    return end


@pytest.mark.parametrize("state", ["promoted", "refused"])
def test_after_each_run_that_shows_other_boxes_the_open_tasks_are_waited_for(
    services: Services, project: int, desk: LiveDesk, push: list[str], end_run: Any, state: State
) -> None:
    champion = services.registry.champion(str(project))
    services.projects.set_pushed(project, services.registry.served_name(str(project)))
    services.registry.set_policy(str(project), champion, lambda _: Policy(champion.threshold, 0.2))
    end_run(state)
    desk.settle(5)
    assert push == [services.registry.served_name(str(project))]
    desk.settle(5)
    assert len(push) == 1


def test_a_run_at_a_later_milestone_did_the_work_of_those_before(
    services: Services, project: int, desk: LiveDesk, push: list[str]
) -> None:
    run = services.runs.open(project, 10, "milestone")
    assert run is not None
    assert not desk.has_ended(5)
    services.runs.start(run.id)
    services.runs.finish(run.id, "refused")
    services.projects.set_pushed(project, services.registry.served_name(str(project)))
    desk.settle(5)
    assert push == []


def test_a_file_of_several_pages_is_played_by_its_first(desk: LiveDesk) -> None:
    pages = [
        {"id": 10 + page, "data": {"sha256": "a", "page": page}, "annotations": []}
        for page in range(3)
    ]
    by_hand = {"id": 20, "data": {"image": "b"}, "annotations": [{"was_cancelled": False}]}
    OpenTasks.listed = [*pages, by_hand]
    assert desk.tasks() == {"a": (10, False)}


@pytest.mark.parametrize("state", ["refused", "failed", "cancelled"])
def test_after_a_run_that_changed_nothing_the_replay_goes_on_at_once(
    services: Services, project: int, desk: LiveDesk, push: list[str], end_run: Any, state: State
) -> None:
    champion = services.registry.champion(str(project))
    services.registry.set_policy(str(project), champion, lambda _: Policy(champion.threshold, 0.2))
    services.projects.set_pushed(project, services.registry.served_name(str(project)))
    end_run(state)
    desk.settle(5)
    assert push == []
