from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result

from backend.cli.effort import forecast_words, share_text
from backend.datasets.label_config import label_config_of
from backend.effort.forecasting import Forecast
from backend.labelstudio.annotation import Annotation
from backend.services import Services, build_services
from backend.settings import Settings
from backend.store.predictions import StoredPrediction
from model.reports import Interval

Run = Callable[..., Result]
CONFIG = label_config_of(("Cell",))


@pytest.fixture
def services(home: Path) -> Services:
    built = build_services(Settings(home=home))
    built.projects.ensure(3, "Blood", CONFIG)
    return built


def test_before_the_first_correction_there_is_nothing_to_measure(
    services: Services, run: Run
) -> None:
    told = run("effort")
    assert told.exit_code == 0
    assert "Nothing was corrected yet" in told.stdout


BOX = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["Cell"]}
REGION = {"id": "r", "type": "rectanglelabels", "value": BOX}


def correct(services: Services, task: int, prediction: int | None, seconds: float | None) -> None:
    """Submit one cell, served by the champion where there is a prediction."""
    at = datetime.now(UTC)
    services.images.add(3, f"{task:064}", 0, f"smear{task}.png", 100, 100)
    services.images.attach_task(3, f"{task:064}", 0, task)
    if prediction is not None:
        served = f"{services.registry.champion('3').id}+t0.5"
        services.predictions.put(StoredPrediction(3, task, f"{task:064}", 0, served, [REGION]))
    services.annotations.record(
        Annotation(
            *(task, 3, task, (REGION,), at, at),
            annotator="1",
            lead_time=seconds,
            parent_prediction=prediction,
        )
    )


def test_the_work_is_told_in_words_and_as_json(services: Services, run: Run) -> None:
    correct(services, 7, prediction=1, seconds=36.0)
    correct(services, 8, prediction=None, seconds=50.0)
    services.annotators.call({"1": "ada@lab.org"})
    told = run("effort", "3").stdout
    a_cell = "0.00 corrections a cell (drawing everything is 1)"
    assert f"now        {a_cell}, 36.0 s a cell, with the champion's boxes in 1 image" in told
    assert f"so far     1 image with 1 cell, {a_cell}" in told
    assert (
        "time       36.0 s a cell: 0.0 hours saved against the 72 s a cell by hand of Tare 2020"
        in told
    )
    assert "by hand    1 image with 1 cell drawn without boxes, 50.0 s a cell" in told
    assert "seconds    add " in told
    assert " (7 assumed), move " in told
    assert "as 2 images tell" in told
    assert "too early to say" in told
    assert "ada@lab.org" in told
    costs = json.loads(run("effort", "3", "--json").stdout)["costs"]
    assert (costs["images"], costs["assumed"]["add_s"]) == (2, 7.0)
    assert costs["measured"]["add_s"] > 7
    parts = json.loads(run("effort", "3", "--json").stdout)
    assert (parts["now"]["kept"], parts["total"]["kept"], parts["by_hand"]["added"]) == (1, 1, 1)


def test_what_was_only_drawn_by_hand_saved_nothing_and_cost_nothing(
    services: Services, run: Run
) -> None:
    correct(services, 7, prediction=None, seconds=36.0)
    told = run("effort", "3").stdout
    assert "now        nothing was corrected yet with the champion's boxes" in told
    assert "by hand    1 image with 1 cell drawn without boxes, 36.0 s a cell" in told
    assert "so far" not in told
    assert "time " not in told
    assert "(hours saved are told by that from 5 images and 50 cells on" in told


def test_one_image_that_two_corrected_is_told_as_one_and_little_lost_time_as_none(
    services: Services, run: Run
) -> None:
    correct(services, 7, prediction=1, seconds=80.0)
    (first,) = services.annotations.corrected(3)
    services.annotations.record(replace(first, id=8, annotator="2"))
    told = run("effort", "3").stdout
    assert "as 1 image tells" in told
    assert ": 0.0 hours saved against the 72 s a cell by hand of Tare 2020" in told
    assert json.loads(run("effort", "3", "--json").stdout)["total"]["timed_images"] == 1


def test_annotations_that_nobody_made_in_a_page_are_counted_one_by_one(
    services: Services, run: Run
) -> None:
    correct(services, 6, prediction=None, seconds=36.0)
    correct(services, 7, prediction=None, seconds=None)
    (imported,) = services.annotations.corrected(3, [7])
    services.annotations.record(replace(imported, id=70))
    correct(services, 8, prediction=1, seconds=None)
    told = run("effort", "3").stdout
    assert "left out   3 annotations imported, or accepted without being opened" in told


def test_few_watched_boxes_are_no_verdict_on_an_annotator() -> None:
    assert share_text(0, 0) == "–"
    assert share_text(1, 2) == "1 of 2"
    assert share_text(40, 44) == "40 of 44 (95 %: 79% to 96%)"


def test_a_forecast_says_how_sure_it_is() -> None:
    coming = Forecast(20, 0.3, 0.2, Interval(0.15, 0.26), Interval(0.04, 0.15), 40)
    assert forecast_words(coming)[0] == (
        "expected   0.20 corrections a cell after 20 images (95 %: 0.15 to 0.26), now 0.30"
    )


def test_a_project_that_is_not_there_is_refused(services: Services, run: Run) -> None:
    told = run("effort", "9")
    assert told.exit_code != 0
