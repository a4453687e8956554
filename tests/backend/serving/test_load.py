"""The web process under load, a process of its own; `python -m benchmarks.load` asks for more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from benchmarks.load import LABEL_CONFIG, SIDE_PX, boxes_of, check, load
from model.boxes import Box

REQUESTS, PROMOTIONS = 600, 10


def answer(signed: int, *made_by: int, body: int | None = None) -> dict[str, Any]:
    """An answer of one version to tasks whose boxes are those of others."""
    interface = LabellingInterface.parse(LABEL_CONFIG)
    results = []
    for number in made_by:
        boxes = [Box(*map(float, edges), "Cell") for edges in boxes_of(number)]
        regions = to_regions(boxes, SIDE_PX, SIDE_PX, interface)
        results.append({"model_version": f"trained-{signed:04}+t0.2", "result": regions})
    named = signed if body is None else body
    return {"model_version": f"trained-{named:04}+t0.2", "results": results}


def test_the_load_test_sees_an_answer_that_is_not_of_one_version() -> None:
    assert check(answer(3, 3, 3), asked=2) == ("trained-0003", "")
    assert "boxes of another" in check(answer(3, 3, 4), asked=2)[1]
    assert "in an answer of" in check(answer(3, 3, body=4), asked=1)[1]
    assert "1 answers to 2 tasks" in check(answer(3, 3), asked=2)[1]


@pytest.mark.integration
def test_no_answer_is_lost_or_mixes_versions_while_ten_are_promoted(tmp_path: Path) -> None:
    outcome = load(tmp_path, REQUESTS, PROMOTIONS, clients=4)
    assert outcome.problems == []
    assert len(outcome.seconds) == REQUESTS
    # A version is loaded while the one before answers; between two promotions there is time for it.
    assert len(outcome.served) > 2
