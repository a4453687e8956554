from __future__ import annotations

from pathlib import Path

import pytest

from backend.cli.choosing import Choice, choose_cell_diameter, choose_version
from model.classical.detector import CLASSICAL_ID
from model.config import DetectorConfig
from model.judging.policy import Policy
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.versions import GateDecision, ModelVersion
from preprocessing.groups import ContrastGroups
from tests.backend.cli.conftest import Run, truth_in


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", STARTER_ID)


def trained(registry: Registry, day: int, refused: bool = False) -> str:
    decision = GateDecision(not refused, ("because",))
    made = ModelVersion(
        f"trained-{day}", "trained", ("Cell",), 0.4, DetectorConfig(scale=0.5), decision=decision
    )
    at = f"2026-01-{day:02}T00:00:00+00:00"
    added = ModelVersion.from_json({**made.to_json(), "created_at": at})
    return registry.add(added, ContrastGroups.none(), None).id


def test_the_champion_of_the_only_project_that_has_one_is_meant_where_none_is_named(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = trained(registry, 1), trained(registry, 2)
    registry.promote("7", first)
    registry.promote("7", second)
    registry.rollback("7")
    trained(registry, 3, refused=True)
    assert choose_version(registry, None, None) == Choice(registry.get(first), "7")
    told = capsys.readouterr().err
    assert "Using trained-1, the champion of project 7, the only one that has one" in told
    assert choose_version(registry, second, None) == Choice(registry.get(second), None)


def test_of_several_projects_the_newest_that_was_not_refused_is_meant_and_they_are_told(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.promote("1", trained(registry, 1))
    registry.promote("2", trained(registry, 2))
    trained(registry, 3, refused=True)
    assert choose_version(registry, None, None) == Choice(registry.get("trained-2"), None)
    told = capsys.readouterr().err
    assert "the newest trained version that was not refused or rolled back" in told
    assert "projects 1, 2 have champions, which --project ID takes" in told


def test_a_project_whose_champion_cannot_be_told_is_named_and_has_no_say(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    for project in ("1", "2"):
        registry.promote(project, trained(registry, int(project)))
    (registry.root / "champions" / "2.json").write_text("{")
    assert choose_version(registry, None, None) == Choice(registry.get("trained-1"), "1")
    note, said = capsys.readouterr().err.splitlines()
    assert note.startswith("Note: which version serves project 2 is unknown: ")
    assert "2.json cannot be read" in note
    assert "the champion of project 1, the only one known to have one; choose another" in said


def test_neither_predict_nor_evaluate_ends_since_it_cannot_be_told_what_serves_a_project(
    run: Run, home: Path, cells: Path, tmp_path: Path
) -> None:
    Registry(home / "registry", STARTER_ID).promote("8", CLASSICAL_ID)
    (home / "registry" / "champions" / "7.json").write_text("{")
    predict = ("predict", cells / "images" / "field0.png", "--out", tmp_path / "out")
    for words in (predict, ("evaluate", *truth_in(cells))):
        result = run(*words)
        assert result.exit_code == 0, result.output
        assert "Note: which version serves project 7 is unknown: " in result.stderr
        assert f"Using {CLASSICAL_ID}, the champion of project 8" in result.stderr


def test_where_no_champion_can_be_told_the_newest_version_is_meant(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.promote("1", trained(registry, 1))
    trained(registry, 2)
    (registry.root / "champions" / "1.json").write_text("{")
    assert choose_version(registry, None, None) == Choice(registry.get("trained-2"), None)
    assert "Using trained-2 (the newest trained version); choose" in capsys.readouterr().err


def test_where_each_version_was_refused_the_starter_is_meant_and_says_so(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(registry, 1, refused=True)
    assert choose_version(registry, None, None).version.id == STARTER_ID
    assert "each trained version was refused or rolled back" in capsys.readouterr().err


def test_a_champion_that_was_chosen_unnamed_is_told_its_projects_cell_diameter(
    registry: Registry,
) -> None:
    starter = registry.get(STARTER_ID)
    registry.promote("7", trained(registry, 1))
    registry.rollback("7")
    registry.set_policy("7", starter, lambda _: Policy(starter.threshold, cell_diameter_px=40.0))
    assert choose_cell_diameter(registry, choose_version(registry, None, None), None) == 40
