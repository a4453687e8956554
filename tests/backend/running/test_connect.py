"""One home, one Label Studio: another has other projects under the same numbers."""

from __future__ import annotations

from typing import Any

import pytest

from backend.credentials import Credentials
from backend.errors import BadRequest, Refused
from backend.running.connect import connect
from backend.running.label_studio import DATABASE, data_folder
from backend.running.lock import FILE_NAME, hold
from backend.running.loop import run_loop
from backend.services import Services
from backend.settings import Settings
from tests.backend.conftest import LABEL_CONFIG

OWN = "http://127.0.0.1:8080"
THEIRS = "https://labels.example.org"
TOKEN = "1" * 40


class Answering:
    """Stands where any Label Studio would that has a project 7."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")

    def check(self) -> dict[str, Any]:
        return {"version": "1.23.2", "user": "lab@example.org"}

    def project(self, id: int) -> dict[str, Any]:
        return {"id": id, "title": "Ours", "label_config": LABEL_CONFIG}


@pytest.fixture(autouse=True)
def _answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.running.connect.LabelStudio", Answering)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nothing of the environment's; nobody listens where Cytoloop would."""
    return settings.model_copy(update={"label_studio_url": "", "port": 9})


def kept_address(settings: Settings) -> str:
    return Credentials.load_or_create(settings).label_studio_url


def test_a_new_home_takes_any_label_studio(services: Services) -> None:
    said = connect(services.settings, THEIRS, TOKEN, 7)
    assert "cytoloop up" in said
    assert kept_address(services.settings) == THEIRS
    assert services.projects.get(7).title == "Ours"


def test_a_home_with_projects_refuses_another_and_keeps_its_own(
    services: Services, project: int
) -> None:
    with pytest.raises(Refused, match=rf"belongs to the Label Studio at {OWN}.* --home DIR"):
        connect(services.settings, THEIRS, TOKEN, 7)
    assert kept_address(services.settings) == ""
    assert [known.id for known in services.projects.all()] == [project]


def test_a_second_project_of_the_same_label_studio_is_attached(services: Services) -> None:
    for id in (7, 8):
        connect(services.settings, f"{THEIRS}/", TOKEN, id)
    assert [known.id for known in services.projects.all()] == [7, 8]


def test_a_second_project_needs_neither_address_nor_token(services: Services) -> None:
    connect(services.settings, THEIRS, TOKEN, 7)
    said = connect(services.settings, "", "", 8)
    assert THEIRS in said
    assert Credentials.load_or_create(services.settings).label_studio_token == TOKEN


def test_a_project_of_our_own_label_studio_leaves_it_ours_to_start(services: Services) -> None:
    data_folder(services.settings).mkdir()
    (data_folder(services.settings) / DATABASE).touch()
    for url, token in (("", ""), (f"{OWN}/", TOKEN)):
        assert OWN in connect(services.settings, url, token, 7)
        assert kept_address(services.settings) == ""


def test_a_kept_token_is_shown_to_no_other_label_studio(services: Services) -> None:
    connect(services.settings, THEIRS, TOKEN, 7)
    with pytest.raises(BadRequest, match="--token TOKEN"):
        connect(services.settings, OWN, "", 8)


def test_an_address_of_the_environment_is_that_of_the_projects_where_none_runs_here(
    services: Services, project: int
) -> None:
    named = services.settings.model_copy(update={"label_studio_url": THEIRS})
    connect(named, THEIRS, TOKEN, 7)
    assert kept_address(services.settings) == THEIRS


def test_an_address_of_the_environment_does_not_replace_the_one_that_runs_here(
    services: Services, project: int
) -> None:
    data_folder(services.settings).mkdir()
    (data_folder(services.settings) / DATABASE).touch()
    named = services.settings.model_copy(update={"label_studio_url": THEIRS})
    for start in (lambda: connect(named, THEIRS, TOKEN, 7), lambda: run_loop(named)):
        with pytest.raises(Refused, match=OWN):
            start()
    assert not (services.settings.home / FILE_NAME).exists()


def test_while_the_loop_runs_its_label_studio_is_not_exchanged(services: Services) -> None:
    home = services.settings.home
    with hold(home, "http://127.0.0.1:8123", "http://127.0.0.1:9"):
        with pytest.raises(Refused, match="8123"):
            connect(services.settings, THEIRS, TOKEN, 7)
        connect(services.settings, "http://127.0.0.1:8123", TOKEN, 7)
    assert kept_address(services.settings) == "http://127.0.0.1:8123"
