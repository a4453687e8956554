from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import text

from backend.cli.choosing import Choice, choose_cell_diameter
from backend.datasets.label_config import label_config_of
from backend.services import build_services
from backend.settings import Settings
from model.classical.detector import CLASSICAL_ID
from tests.backend.conftest import no_room

Run = Callable[..., Result]
CONFIG = label_config_of(("RBC", "WBC"))


@pytest.fixture(autouse=True)
def blood(home: Path) -> None:
    services = build_services(Settings(home=home))
    services.projects.ensure(3, "Blood", CONFIG)
    services.engine.dispose()


def test_milestones_and_default_class_are_shown_changed_and_given_back(run: Run) -> None:
    assert "3, 5, 10, 20, 40, 80, then every 50" in run("project").stdout
    changed = run("project", "--milestones", "3,6", "--default-class", "WBC").stdout
    assert "3, 6, then every 50" in changed
    assert "default class  WBC" in changed
    assert run("project").stdout == changed
    back = run("project", "--milestones", "", "--default-class", "").stdout
    assert "3, 5, 10, 20, 40, 80" in back
    assert "default class  RBC" in back


def test_without_a_step_after_the_last_milestone_none_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOLOOP_MILESTONE_STEP", "0")
    assert "milestones     3, 5, 10, 20, 40, 80\n" in run("project").stdout


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--milestones", "5,ten", "5,10,20"),
        ("--milestones", "10,5", "ascending"),
        ("--default-class", "Platelets", "RBC"),
        ("--cell-diameter", "0.5", "1 to 10,000 pixels"),
        ("--cell-diameter", "nan", "1 to 10,000 pixels"),
        ("--cell-diameter", "1e6", "1 to 10,000 pixels, not 1e+06"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_and_nothing_changes(
    run: Run, option: str, value: str, told: str
) -> None:
    before = run("project").stdout
    refused = run("project", option, value)
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert run("project").stdout == before


def test_a_full_disk_is_told_in_one_line(run: Run, home: Path) -> None:
    services = build_services(Settings(home=home))
    with services.engine.connect() as connection:  # as where the loop runs
        connection.execute(text("SELECT * FROM projects"))
        with no_room():
            refused = run("project", "--blind")
    services.engine.dispose()
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: The database cannot be read or written (disk I/O")
    assert "make room" in refused.stderr


def test_held_out_tasks_open_with_boxes_unless_told_otherwise(run: Run) -> None:
    assert "opened with boxes" in run("project").stdout
    assert "opened without boxes" in run("project", "--blind").stdout
    assert "opened without boxes" in run("project").stdout
    assert "opened with boxes" in run("project", "--with-boxes").stdout


def test_the_diameter_of_the_cells_is_told_until_it_is_learned(run: Run, home: Path) -> None:
    assert "cell diameter  found in each image" in run("project").stdout
    told = run("project", "--cell-diameter", "40")
    assert (told.exit_code, "cell diameter  40 px" in told.stdout) == (0, True), told.stderr
    registry = build_services(Settings(home=home)).registry
    starter = registry.champion("3")
    assert registry.policy("3", starter).cell_diameter_px == 40
    run("project", "--cell-diameter", "0")
    assert "cell diameter  found in each image" in run("project").stdout
    registry.promote("3", CLASSICAL_ID)
    before = run("project").stdout
    refused = run("project", "--cell-diameter", "40", "--milestones", "3,6")
    assert refused.exit_code == 2
    assert "needs no cell diameter" in refused.stderr
    assert run("project").stdout == before
    found = run("project", "--cell-diameter", "0", "--milestones", "3,6")
    assert found.exit_code == 0, found.stderr
    assert "3, 6, then" in found.stdout


def test_offline_too_a_version_is_told_what_its_project_was_told(run: Run, home: Path) -> None:
    run("project", "--cell-diameter", "40")
    services = build_services(Settings(home=home))
    registry = services.registry
    starter = registry.champion("3")
    assert choose_cell_diameter(registry, Choice(starter, "3"), None) == 40
    assert choose_cell_diameter(registry, Choice(starter, "3"), 25) == 25
    assert choose_cell_diameter(registry, Choice(starter, None), None) is None


@pytest.mark.parametrize(("project", "called"), [("3", "RBC"), ("7", "cell"), ("old", "cell")])
def test_offline_too_boxes_are_called_as_the_project_does_whose_champion_is_taken(
    run: Run, home: Path, cells: Path, tmp_path: Path, project: str, called: str
) -> None:
    build_services(Settings(home=home)).registry.promote(project, CLASSICAL_ID)
    told = run("predict", cells / "images" / "field0.png", "--out", tmp_path / "out")
    assert f"the champion of project {project}, the only one" in told.stderr
    with (tmp_path / "out" / "counts.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == [called]


def test_boxes_are_shown_for_the_least_work_unless_told_otherwise(run: Run) -> None:
    assert "for the least work" in run("project").stdout
    assert "boxes shown    as counted" in run("project", "--as-counted").stdout
    assert "as counted" in run("project").stdout
    assert "for the least work" in run("project", "--least-work").stdout
