from __future__ import annotations

from typing import Any

import pytest

from backend.errors import BadRequest
from backend.labelstudio.client import LabelStudio
from backend.replay.live import LiveDesk
from backend.services import Services
from backend.store.predictions import Watch

SHOWN = {"id": 7, "model_version": "starter-3+t0.4", "result": []}


class OpenTasks(LabelStudio):
    """Stands where Label Studio would: every task shows one prediction."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "")

    def task(self, id: int) -> dict[str, Any]:
        return {"id": id, "predictions": [SHOWN]}


@pytest.fixture
def desk(services: Services, project: int) -> LiveDesk:
    services.__dict__["label_studio"] = OpenTasks()
    return LiveDesk(services, services.projects.get(project))


def test_no_replay_is_played_where_tasks_open_otherwise_than_served(
    services: Services, project: int, desk: LiveDesk
) -> None:
    blank = Watch("blank", (), 0, ())
    for task, watch in ((1, None), (2, blank)):
        services.predictions.add(project, task, "0" * 64, 0, "starter-3+t0.4", [], watch=watch)
    assert desk.open(1).served == "starter-3+t0.4"
    with pytest.raises(BadRequest, match="Task 2 opens blind"):
        desk.open(2)
    blind = services.projects.change(project, blind=True)
    with pytest.raises(BadRequest, match="--with-boxes"):
        LiveDesk(services, blind)
