from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client import REGISTRY

from backend.datasets.known import known_images
from backend.datasets.predicting import predict_into
from backend.errors import BadLabelConfig, BadRequest
from backend.labelstudio.results import to_boxes
from backend.numbers import project_number
from backend.services import Services
from backend.serving.predictor import Predictor, tasks_of
from backend.serving.slot import Slot
from model.judging.policy import Policy
from model.labels.examples import Side
from model.labels.sides import is_reserved
from preprocessing.fitting import fit_images
from preprocessing.images import read_image
from tests.backend.conftest import asked_of

Trained = Callable[..., Any]


def field_of_cells(width: int = 160, height: int = 120) -> bytes:
    """A PNG of three bright discs."""
    y, x = np.mgrid[:height, :width]
    pixels = np.random.default_rng(0).integers(25, 36, (height, width), np.uint8)
    for cx, cy in ((30, 30), (80, 60), (130, 90)):
        pixels[(x - cx) ** 2 + (y - cy) ** 2 < 12**2] = 200
    return _png(pixels)


def _png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def predictor(services: Services, registry: Any) -> Iterator[Predictor]:
    with closing(Slot(registry, "cpu")) as slot:
        yield Predictor(services, slot, first_load_s=60)


@pytest.fixture
def task(services: Services) -> Callable[..., dict[str, Any]]:
    """Return a maker of tasks whose raw image is kept."""

    def make(id: int, raw: bytes | None = None) -> dict[str, Any]:
        sha256 = services.images.keep(field_of_cells() if raw is None else raw)
        return {"id": id, "project": 1, "data": {"image": "/data/x.png", "sha256": sha256}}

    return make


@pytest.fixture
def config(services: Services, project: int) -> str:
    return services.projects.get(project).label_config


def test_the_first_task_opens_with_a_box_on_each_cell(
    predictor: Predictor, task: Any, config: str
) -> None:
    (answer,) = predictor.predict(1, [task(1)], config)

    boxes, notes = to_boxes(answer["result"], 160, 120)
    centres = sorted(((b.xmin + b.xmax) / 2, (b.ymin + b.ymax) / 2) for b in boxes)
    assert notes == []
    assert np.allclose(centres, [(30, 30), (80, 60), (130, 90)], atol=1.5)
    assert {b.label for b in boxes} == {"Cell"}
    assert not any("meta" in region for region in answer["result"])
    assert answer["model_version"] == "classical-1+t0.5"
    assert 0 <= answer["score"] <= 1


def test_what_was_served_is_kept_exactly_and_counted(
    predictor: Predictor, task: Any, config: str, services: Services
) -> None:
    before = REGISTRY.get_sample_value("cytoloop_predictions_total") or 0
    (answer,) = predictor.predict(1, [task(1)], config)

    assert REGISTRY.get_sample_value("cytoloop_predictions_total") == before + 1
    kept = services.predictions.last_shown(1, 1)
    assert kept is not None
    assert list(kept.regions) == answer["result"]
    assert (kept.served, kept.score) == (answer["model_version"], answer["score"])


def test_of_more_boxes_than_count_is_kept_which_count(
    predictor: Predictor, task: Any, config: str, services: Services, registry: Any
) -> None:
    champion = registry.champion("1")
    policy = replace(Policy.of(champion), shown_from=0.2)
    registry.set_policy("1", champion, lambda _: policy)
    predictor.predict(1, [task(1)], config)

    kept = services.predictions.last_shown(1, 1)
    assert kept is not None
    assert kept.counted_from == policy.counted_probability(kept.contrast_group)


def test_an_unreadable_image_is_asked_again_and_costs_no_other_task(
    predictor: Predictor, task: Any, config: str, services: Services
) -> None:
    away = {"id": 3, "data": {"image": "/data/upload/1/a.png"}}
    tasks = [task(1), task(2, b""), away, {"id": 4}, task(5, b"\x89PNG broken"), task(6)]

    answers = predictor.predict(1, tasks, config)

    assert [bool(answer) for answer in answers] == [True, False, False, False, False, True]
    assert [answers[n] for n in (1, 2, 3, 4)] == [[]] * 4
    assert services.predictions.last_shown(1, 2) is None


def test_an_image_without_cells_is_answered_with_a_true_nothing(
    predictor: Predictor, task: Any, config: str
) -> None:
    empty = _png(np.full((60, 60), 90, np.uint8))

    (answer,) = predictor.predict(1, [task(1, empty)], config)

    assert answer == {"result": [], "score": 0.980392, "model_version": "classical-1+t0.5"}


def test_a_trained_version_gives_its_own_classes_and_the_boxes_above_its_threshold(
    predictor: Predictor, task: Any, config: str, registry: Any, trained: Trained
) -> None:
    trained("trained-a", (5, 5, 20, 25, 0.9, 1), (40, 40, 60, 60, 0.6, 0), (1, 1, 9, 9, 0.4, 0))
    registry.promote("1", "trained-a")

    (answer,) = predictor.predict(1, [task(1)], config)

    boxes, _ = to_boxes(answer["result"], 160, 120)
    assert [(b.xyxy_px, b.label) for b in boxes] == [
        ((5, 5, 20, 25), "Debris"),
        ((40, 40, 60, 60), "Cell"),
    ]
    assert answer["model_version"] == "trained-a+t0.5"


def test_of_images_with_the_same_boxes_one_of_a_rare_contrast_group_comes_first(
    predictor: Predictor, task: Any, config: str, registry: Any, trained: Trained
) -> None:
    y, x = np.mgrid[:120, :160]
    usual, rare = field_of_cells(), _png((x + y).astype(np.uint8))
    registry.groups = fit_images([read_image(usual)] * 9 + [read_image(rare)] * 3)
    trained("trained-a", (5, 5, 20, 25, 0.9, 1), (40, 40, 60, 60, 0.6, 0))
    registry.promote("1", "trained-a")

    answers = predictor.predict(1, [task(1, usual), task(2, rare)], config)

    assert sorted(registry.groups.members) == [3, 9]
    assert [len(answer["result"]) for answer in answers] == [2, 2]
    # 0.5 corrections are expected: 7/10 and 7/4 times as many.
    scores = [50 / 50.35, 50 / 50.875]
    assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=1e-6)


def test_two_classes_on_one_cell_are_one_box_on_the_page_in_exports_and_on_the_command_line(
    predictor: Predictor, task: Any, config: str, registry: Any, trained: Trained, tmp_path: Path
) -> None:
    trained("trained-a", (5, 5, 20, 25, 0.7, 1), (5, 5, 20, 25, 0.6, 0), (40, 40, 60, 60, 0.6, 0))
    registry.promote("1", "trained-a")
    file = tmp_path / "field.png"
    file.write_bytes(field_of_cells())

    (answer,) = predictor.predict(1, [task(1)], config)
    (known,), _ = known_images(predictor.services, 1)
    written = predict_into(tmp_path / "out", [file], registry.load("trained-a"))

    assert len(answer["result"]) == len(known.counted.boxes) == written.cells == 2


def test_a_class_that_the_project_lost_becomes_its_default_class(
    predictor: Predictor, task: Any, config: str, registry: Any, trained: Trained
) -> None:
    trained("trained-a", (5, 5, 20, 25, 0.9, 0), classes=("Vanished",))
    registry.promote("1", "trained-a")

    (answer,) = predictor.predict(1, [task(1)], config)

    assert answer["result"][0]["value"]["rectanglelabels"] == ["Cell"]


def test_a_version_with_the_projects_classes_is_served_without_going_through_all_corrections(
    predictor: Predictor, task: Any, config: str, registry: Any, trained: Trained
) -> None:
    trained("trained-a", (5, 5, 20, 25, 0.9, 1))
    registry.promote("1", "trained-a")
    with asked_of(predictor.services.engine) as statements:
        predictor.predict(1, [task(1)], config)
    assert not [each for each in statements if "annotations.labels" in each]


@pytest.fixture
def capped(registry: Any, trained: Trained) -> Callable[[float], None]:
    """Let a version serve of whose boxes a cap cut some, the best of this score."""

    def serve(best: float) -> None:
        trained("trained-a", (5, 5, 20, 25, 0.9, 0))
        caps = {"detections_per_image": best}
        registry.found["trained-a"] = replace(registry.found["trained-a"], caps_reached=caps)
        registry.promote("1", "trained-a")

    return serve


def test_a_limit_that_was_reached_is_said_on_the_task_and_counted(
    predictor: Predictor, task: Any, config: str, capped: Callable[[float], None]
) -> None:
    capped(0.6)

    (answer,) = predictor.predict(1, [task(1)], config)

    (limit,) = predictor.services.predictions.last_shown(1, 1).flags
    assert "more boxes were found than are kept" in limit
    assert answer["result"][0]["meta"]["text"] == [limit]
    assert predictor.services.predictions.count_flagged(1, "trained-a+t0.5", "limit reached") == 1


def test_a_limit_that_cut_nothing_that_would_be_shown_is_not_said(
    predictor: Predictor, task: Any, config: str, capped: Callable[[float], None]
) -> None:
    capped(0.4)

    (answer,) = predictor.predict(1, [task(1)], config)

    assert predictor.services.predictions.last_shown(1, 1).flags == ()
    assert "meta" not in answer["result"][0]


def test_tasks_beyond_the_time_budget_are_asked_again(
    services: Services, registry: Any, task: Any, config: str
) -> None:
    services.settings.predict_budget_s = -1.0
    with closing(Slot(registry, "cpu")) as slot:
        answers = Predictor(services, slot).predict(1, [task(1), task(2)], config)

    assert answers == [[], []]


def test_while_the_first_version_loads_tasks_are_asked_again_in_their_number(
    services: Services, registry: Any, trained: Trained, task: Any, config: str
) -> None:
    trained("trained-a")
    registry.promote("1", "trained-a")
    registry.may_load.clear()
    unanswered = "cytoloop_tasks_unanswered_total"
    before = REGISTRY.get_sample_value(unanswered)
    with closing(Slot(registry, "cpu")) as slot:
        answers = Predictor(services, slot, first_load_s=0.01).predict(1, [task(1)] * 3, config)
        registry.may_load.set()

    assert answers == [[], [], []]
    assert REGISTRY.get_sample_value(unanswered) == (before or 0) + 3


@pytest.mark.parametrize("failure", [RuntimeError("CUDA out of memory"), MemoryError("full")])
def test_a_detector_that_fails_on_an_image_costs_that_task_alone(
    predictor: Predictor,
    task: Any,
    config: str,
    registry: Any,
    trained: Trained,
    failure: Exception,
) -> None:
    trained("trained-a", (5, 5, 20, 25, 0.9, 0))
    registry.promote("1", "trained-a")
    detector = predictor.slot.current("1").loaded.detector
    answers = iter([failure, detector.detect([None])])  # type: ignore[list-item]

    def detect(images: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    object.__setattr__(detector, "detect", detect)

    failed, answered = predictor.predict(1, [task(1), task(2)], config)

    assert failed == []
    assert len(answered["result"]) == 1


def test_a_project_is_known_from_its_first_request_and_keeps_its_title(
    predictor: Predictor, services: Services, project: int, config: str
) -> None:
    predictor.predict(9, [], config)
    predictor.predict(project, [], config.replace("Debris", "Dust"))

    assert services.projects.get(9).title == "Project 9"
    assert services.projects.get(project).title == "proj1"
    assert services.projects.get(project).classes == ("Cell", "Dust")


def test_a_config_without_boxes_is_refused(predictor: Predictor, task: Any) -> None:
    with pytest.raises(BadLabelConfig, match="RectangleLabels"):
        predictor.predict(1, [task(1)], "<View/>")


def test_the_project_is_the_number_before_the_dot() -> None:
    assert [project_number(p) for p in ("1.1795529967", "12", 7)] == [1, 12, 7]
    for wrong in ("", None, "x.1", "-1", "1e3", "²"):
        with pytest.raises(BadRequest, match="project"):
            project_number(wrong)


@pytest.mark.parametrize(
    "wrong", [None, {}, "x", [1], [{"data": {}}], [{"id": "x"}], [{"id": None}]]
)
def test_tasks_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(BadRequest, match="tasks"):
        tasks_of({"tasks": wrong})


def test_where_held_out_tasks_open_without_boxes_the_others_keep_theirs(
    predictor: Predictor, task: Any, config: str, services: Services
) -> None:
    tasks = [task(1), task(2, field_of_cells(170))]
    predictor.predict(1, tasks, config)
    sides: list[Side] = ["held-out", "train"]
    for number, side in enumerate(sides, start=1):
        image = services.images.of_task(1, number)
        assert image is not None
        services.images.set_sides(1, {(image.sha256, image.page): side})
    services.projects.change(1, blind=True)
    blind, seen = predictor.predict(1, tasks, config)
    assert blind["result"] == []
    assert len(seen["result"]) == 3
    assert blind["score"] < 1  # as doubtful as with boxes: its turn comes no later
    kept = [services.predictions.last_shown(1, number) for number in (1, 2)]
    assert [one.is_blind for one in kept if one] == [True, False]


def test_an_image_without_a_side_opens_without_boxes_when_its_hash_holds_it_out(
    predictor: Predictor, task: Any, config: str, services: Services
) -> None:
    services.projects.change(1, blind=True)
    tasks = [task(width, field_of_cells(width)) for width in range(146, 152)]
    answers = predictor.predict(1, tasks, config)
    blind = [answer["result"] == [] for answer in answers]
    assert blind == [is_reserved(one["data"]["sha256"]) for one in tasks]
    assert set(blind) == {True, False}
