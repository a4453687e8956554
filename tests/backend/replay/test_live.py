from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from backend.errors import BadRequest
from backend.labelstudio.client import LabelStudio
from backend.replay import live
from backend.replay.ledger import Ledger
from backend.replay.live import LiveDesk
from backend.replay.playing import Play
from backend.services import Services
from backend.store.predictions import StoredPrediction, Watch
from backend.store.runs import State
from model.classical.detector import CLASSICAL_ID
from model.judging.policy import Policy
from model.keeping.starter import STARTER_ID

SERVED = f"{STARTER_ID}+t0.4"
FROM_STARTER = {"first_version": STARTER_ID}
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
        services.predictions.put(
            StoredPrediction(project, task, "0" * 64, 0, SERVED, [], watch=watch)
        )
    assert desk.open(1).served == SERVED
    with pytest.raises(BadRequest, match="Task 2 opens blind"):
        desk.open(2)
    blind = services.projects.change(project, blind=True)
    with pytest.raises(BadRequest, match="--with-boxes"):
        LiveDesk(services, blind)


def test_a_replay_keeps_to_the_boxes_that_its_project_is_shown(
    services: Services, project: int, desk: LiveDesk, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "effort.csv")
    began = desk.chosen(Play())
    old = {name: chosen for name, chosen in began.items() if name != "least_work"}
    ledger.keep_to(old)
    ledger.keep_to(began)
    others = LiveDesk(services, services.projects.change(project, least_work=False))
    with pytest.raises(BadRequest, match=r"began with least_work True, .* with least_work False"):
        ledger.keep_to(others.chosen(Play()))


def test_a_replay_keeps_to_the_size_of_the_cells_that_its_starter_was_told(
    services: Services, project: int, tmp_path: Path
) -> None:
    own = replace(services, settings=services.settings.model_copy(update=FROM_STARTER))
    desk = LiveDesk(own, own.projects.get(project))
    ledger = Ledger(tmp_path / "effort.csv")
    ledger.keep_to(desk.chosen(Play()))
    starter = own.registry.champion(str(project))
    own.registry.set_policy(
        str(project), starter, lambda policy: replace(policy, cell_diameter_px=40.0)
    )
    with pytest.raises(BadRequest, match=r"cell_diameter_px None, .* cell_diameter_px 40"):
        ledger.keep_to(desk.chosen(Play()))
    own.registry.promote(str(project), CLASSICAL_ID)
    ledger.keep_to(desk.chosen(Play()))


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
