from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import Result

from backend.services import Services, build_services
from backend.settings import Settings
from backend.store.annotations import Annotation

Run = Callable[..., Result]
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Cell"/></RectangleLabels></View>'
)


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


def test_the_work_is_told_in_words_and_as_json(services: Services, run: Run) -> None:
    at = datetime.now(UTC)
    box = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["Cell"]}
    region = {"id": "r", "type": "rectanglelabels", "value": box}
    services.images.add(3, "0" * 64, 0, "smear.png", 100, 100)
    services.images.attach_task(3, "0" * 64, 0, 7)
    services.annotations.record(
        Annotation(1, 3, 7, (region,), at, at, annotator="ada@lab.org", lead_time=36.0)
    )
    told = run("effort", "3").stdout
    assert "corrected  1 image with 1 cell" in told
    assert "work       1.00 corrections a cell; drawing everything is 1" in told
    assert "hours saved" not in told
    assert "too early to say" in told
    assert "ada@lab.org" in told
    assert json.loads(run("effort", "3", "--json").stdout)["total"]["added"] == 1


def test_a_project_that_is_not_there_is_refused(services: Services, run: Run) -> None:
    told = run("effort", "9")
    assert told.exit_code != 0
