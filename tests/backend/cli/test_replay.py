from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from model.classical.detector import CLASSICAL_ID
from tests.backend.cli.conftest import CELLS, Run


@pytest.fixture
def words(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """The command, on images that reach no milestone."""
    monkeypatch.setenv("CYTOLOOP_FIRST_VERSION", CLASSICAL_ID)
    truth = ("--images", cells / "images", "--annotations", cells / "annotations")
    return ("replay", *truth, "--out", tmp_path / "out")


def rows_in(out: Path) -> list[dict[str, str]]:
    with (out / "effort.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.integration
def test_a_replay_tells_what_each_image_cost_and_goes_on_when_it_is_run_again(
    run: Run, words: tuple[object, ...], tmp_path: Path
) -> None:
    first = run(*words, "--images-played", 2)
    assert first.exit_code == 0, first.output
    played = rows_in(tmp_path / "out")
    assert [row["number"] for row in played] == ["1", "2"]
    assert {(row["cells"], row["learned"]) for row in played} == {(str(CELLS), "0")}

    again = run(*words, "--images-played", 3)
    assert again.exit_code == 0, again.output
    assert rows_in(tmp_path / "out")[:2] == played
    assert len(rows_in(tmp_path / "out")) == 3
    assert "actions/cell" in again.stdout
    assert [line.split()[:4] for line in again.stdout.splitlines() if line.startswith("0 images")]
    assert "effort.csv" in again.stderr
    assert (tmp_path / "out" / "curve.svg").read_text("utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--live", 1, "--floor", 3), "leave out --live"),
        (("--floor", 1), "at least 2 folds"),
    ],
)
def test_what_cannot_be_played_is_refused(
    run: Run, words: tuple[object, ...], given: tuple[object, ...], said: str
) -> None:
    refused = run(*words, *given)
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_a_replay_that_would_go_on_otherwise_is_refused(
    run: Run, words: tuple[object, ...], tmp_path: Path
) -> None:
    run(*words, "--images-played", 1)
    played = rows_in(tmp_path / "out")
    refused = run(*words, "--images-played", 2, "--misses", 0.5, "--lag", 1)
    assert refused.exit_code == 2
    assert "began with lag 0, misses 0.0" in refused.stderr
    assert rows_in(tmp_path / "out") == played


@pytest.mark.parametrize(
    ("given", "setting", "said"),
    [
        (("--map", "Cell=Nucleus"), {}, "began with map {}, .* map {'Cell': 'Nucleus'}"),
        (("--one-based",), {}, "one_based False"),
        ((), {"PRESET": "fast"}, "preset default, .* preset fast"),
        ((), {"ITERATIONS": "3"}, "iterations 2"),
        ((), {"CONTRAST": "none"}, "contrast of the preset, .* contrast none"),
        ((), {"MILESTONES": "4,8"}, r"milestones \[3, 5, 10, 20, 40, 80\], .* milestones \[4, 8\]"),
        ((), {"MILESTONE_STEP": "7"}, "milestone_step 50"),
        ((), {"DEFAULT_CLASS": "Nucleus"}, "default_class"),
    ],
)
def test_a_replay_keeps_to_the_truth_and_the_trainings_it_began_with(
    run: Run,
    words: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[object, ...],
    setting: dict[str, str],
    said: str,
) -> None:
    run(*words, "--images-played", 1)
    began = (tmp_path / "out" / "effort.json").read_text("utf-8")
    for name, value in setting.items():
        monkeypatch.setenv(f"CYTOLOOP_{name}", value)
    refused = run(*words, "--images-played", 2, *given)
    assert refused.exit_code == 2
    assert re.search(said, " ".join(refused.stderr.split()))
    assert len(rows_in(tmp_path / "out")) == 1
    assert (tmp_path / "out" / "effort.json").read_text("utf-8") == began


def test_a_replay_that_never_kept_its_trainings_goes_on_and_keeps_them_from_then_on(
    run: Run, words: tuple[object, ...], tmp_path: Path
) -> None:
    run(*words, "--images-played", 1)
    kept = tmp_path / "out" / "effort.json"
    now = json.loads(kept.read_text("utf-8"))
    before = {name: now[name] for name in ("form", "start", "lag", "misses", "accepts", "seed")}
    assert {"map", "one_based", "preset", "milestones"} <= now.keys() - before.keys()
    kept.write_text(json.dumps(before), "utf-8")
    assert run(*words, "--images-played", 2).exit_code == 0
    assert json.loads(kept.read_text("utf-8")) == now
