from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from backend.errors import BadLabelConfig, BadRequest, NotFound
from backend.settings import Settings
from backend.store.annotations import Annotations
from backend.store.predictions import Predictions, StoredPrediction
from backend.store.projects import Projects
from backend.store.tables import now
from model.judging.strata import ContrastStrata
from tests.backend.conftest import LABEL_CONFIG, asked_of


@pytest.fixture
def store(engine: Engine, tmp_path: Path) -> Projects:
    return Projects(engine, Settings(home=tmp_path))


def test_a_project_has_the_classes_of_its_config_and_the_settings_milestones(
    store: Projects,
) -> None:
    project = store.get(1)
    assert project.classes == ("Cell", "Debris")
    assert project.default_class == "Cell"
    assert project.milestones == (3, 5, 10, 20, 40, 80)


def test_a_changed_label_config_is_kept(store: Projects) -> None:
    config = store.get(1).label_config.replace("Debris", "Platelets")
    assert store.ensure(1, "renamed", config).classes == ("Cell", "Platelets")
    assert [project.title for project in store.all()] == ["renamed"]


def test_a_config_without_boxes_is_refused_and_the_old_one_stays(store: Projects) -> None:
    with pytest.raises(BadLabelConfig):
        store.ensure(1, "proj1", "<View/>")
    assert store.get(1).classes == ("Cell", "Debris")


def test_an_unknown_project_is_said_with_what_to_do(store: Projects) -> None:
    with pytest.raises(NotFound, match="cytoloop connect --project 8"):
        store.get(8)
    with pytest.raises(NotFound):
        store.change(8, milestones=[3])


def test_a_project_that_is_gone_from_label_studio_is_listed_only_where_asked_for(
    store: Projects,
) -> None:
    store.ensure(2, "proj2", LABEL_CONFIG)
    store.set_gone(1, True)
    assert [project.id for project in store.all()] == [2]
    assert [project.id for project in store.all(gone=True)] == [1, 2]
    store.set_gone(1, False)
    assert [project.id for project in store.all()] == [1, 2]


def test_boxes_are_called_what_was_most_often_corrected(
    store: Projects, engine: Engine, annotated: Any
) -> None:
    annotations = Annotations(engine)
    annotations.record(annotated(1, task=1, labels=("Cell", "Debris", "Debris")))
    assert store.get(1).default_class == "Debris"
    annotations.record(annotated(2, task=2, labels=("Cell",) * 3))
    assert store.get(1).default_class == "Cell"
    annotations.record(annotated(3, task=3, labels=("Debris",) * 9, was_cancelled=True))
    assert store.get(1).default_class == "Cell"


def test_who_does_not_ask_for_the_default_class_does_not_pay_for_it(
    store: Projects, engine: Engine
) -> None:
    with asked_of(engine) as statements:
        store.get(1)
        store.all()
        project = store.ensure(1, "renamed", LABEL_CONFIG)
    assert not [each for each in statements if "annotations.labels" in each]
    with asked_of(engine) as statements:
        assert (project.default_class, project.default_class) == ("Cell", "Cell")
    assert len([each for each in statements if "annotations.labels" in each]) == 1


def test_a_project_whose_title_is_not_told_keeps_the_one_that_is_known(
    store: Projects, engine: Engine
) -> None:
    changed = store.get(1).label_config.replace("Debris", "Platelets")
    kept = store.ensure(1, "", changed)
    assert (kept.title, kept.classes) == ("proj1", ("Cell", "Platelets"))
    assert store.ensure(2, "", changed).title == "Project 2"
    with asked_of(engine) as statements:
        assert store.ensure(1, "", changed) == store.ensure(1, "proj1", changed) == kept
    assert {each.split()[0] for each in statements} == {"SELECT"}


def test_a_chosen_default_class_holds_until_it_is_taken_back(store: Projects) -> None:
    assert store.change(1, default_class="Debris").default_class == "Debris"
    assert store.change(1, milestones=[3]).default_class == "Debris"
    assert store.change(1, default_class=None).default_class == "Cell"


def test_the_settings_default_class_holds_where_the_project_has_it(
    engine: Engine, tmp_path: Path
) -> None:
    for name, expected in (("Debris", "Debris"), ("Mitosis", "Cell")):
        store = Projects(engine, Settings(home=tmp_path, default_class=name))
        assert store.get(1).default_class == expected


def test_a_class_that_the_project_lacks_is_refused(store: Projects) -> None:
    with pytest.raises(BadRequest, match="it has Cell, Debris"):
        store.change(1, default_class="Mitosis")


def test_milestones_are_chosen_for_one_project(store: Projects) -> None:
    assert store.change(1, milestones=[3, 6]).milestones == (3, 6)
    assert store.change(1, milestones=None).milestones == (3, 5, 10, 20, 40, 80)


@pytest.mark.parametrize("milestones", [[0, 5], [5, 5], [10, 5]])
def test_milestones_that_do_not_ascend_are_refused(store: Projects, milestones: Any) -> None:
    with pytest.raises(BadRequest, match="ascending"):
        store.change(1, milestones=milestones)


def test_the_last_served_boxes_of_a_task_are_kept_as_they_were(engine: Engine) -> None:
    served = Predictions(engine)
    regions = [{"id": "r1", "value": {"x": 19.52194357366771}}]
    first = StoredPrediction(1, 4, "a" * 64, 0, "classical-1+t", regions, score=0.3)
    served.put(first)
    served.put(replace(first, served="trained-1+t", regions=[], created_at=now()))
    served.put(replace(first, score=0.4, created_at=now()))
    latest = served.last_shown(1, 4)
    assert latest is not None
    assert (latest.served, latest.score) == ("classical-1+t", 0.4)
    assert latest.regions == tuple(regions)
    assert served.last_shown(1, 5) is None


def test_the_strata_of_contrast_are_set_once_for_ever(store: Projects) -> None:
    assert store.get(1).strata is None
    first, second = ContrastStrata((0.2, 0.4)), ContrastStrata((0.3, 0.5))
    assert store.set_strata(1, first) == first
    assert store.set_strata(1, second) == first
    assert store.get(1).strata == first


def test_a_milestone_at_which_nothing_is_held_out_is_refused(store: Projects) -> None:
    with pytest.raises(BadRequest, match="a run at 2 would be refused: begin with 3 or more"):
        store.change(1, milestones=[2, 5])
