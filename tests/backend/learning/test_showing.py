from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backend.actions import Costs
from backend.learning.showing import (
    GIVEN_FOR_FEWER,
    fewest_from,
    show_anew,
    show_least_work,
    unlearned,
)
from backend.learning.taken import run_folder
from backend.services import Services
from model.judging.calibration import Calibration
from model.judging.policy import Policy
from model.labels.examples import DatasetSnapshot, LabelledImage, Side
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import PUSH, waiting
from tests.backend.serving.conftest import TEN_CELLS, StandIns, found_with_false_boxes


@pytest.fixture
def version(services: Services) -> ModelVersion:
    """Champion of project 1: cells at scores of 0.3 and more, false boxes at 0.29 and less."""
    registry = StandIns(services.settings.registry_folder)
    services.__dict__["registry"] = registry
    registry.found["trained-1"] = found_with_false_boxes()
    made = ModelVersion("trained-1", "trained", ("Cell",), 0.6, project="1", lineage=("taught",))
    registry.add(made, ContrastGroups.none(), None)
    registry.promote("1", made.id)
    return made


@pytest.fixture
def snapshot(services: Services, add_image: Callable[..., str]) -> Callable[..., DatasetSnapshot]:
    """Return what freezes images of ten cells each on given sides."""

    def freeze(*sides: Side) -> DatasetSnapshot:
        images = []
        for task, side in enumerate(sides, start=1):
            sha256 = add_image(task)
            path = services.images.path(sha256)
            images.append(LabelledImage(path, sha256, TEN_CELLS, side, name=f"image{task}"))
        return DatasetSnapshot(tuple(images), ("Cell",))

    return freeze


def test_boxes_that_are_likely_cells_are_shown_though_they_do_not_count(
    services: Services, project: int, version: ModelVersion, snapshot: Any
) -> None:
    notes: list[str] = []
    frozen = snapshot("inner", "inner", "train", "train")
    assert show_least_work(services, project, version, frozen, notes.append)
    policy = services.registry.policy("1", version)
    found = services.registry.load(version.id).find([frozen.images[0].read()])[0].detections
    assert policy.counted_from == version.threshold
    likely = np.tile(policy.calibration.probabilities(found.scores), 4)
    counts = np.tile(found.scores >= version.threshold, 4)
    fewest = fewest_from(likely, counts, np.array([10] * 4), Costs(), right_s=0.5)
    assert policy.shown_from == pytest.approx(fewest, abs=1e-3)
    assert fewest is not None
    assert fewest > 0.2  # from 1.5 / (1.5 + 7 - 0.5) on time is saved
    assert len(found.above(version.threshold)) == 5
    assert 10 <= len(policy.shown(found)) <= 15
    before, after = re.findall(r"0\.\d\d", notes[0])
    assert after < before
    assert "as 4 images tell" in notes[1]
    assert not show_least_work(services, project, version, frozen, notes.append)


def test_where_no_box_in_doubt_is_worth_showing_that_is_told(
    services: Services, project: int, version: ModelVersion, snapshot: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("backend.learning.showing.fewest_from", lambda *_: None)
    notes: list[str] = []
    frozen = snapshot(*["inner"] * 4)
    assert show_least_work(services, project, version, frozen, notes.append)
    policy = services.registry.policy("1", version)
    found = services.registry.load(version.id).find([frozen.images[0].read()])[0].detections
    assert len(policy.shown(found)) == len(found.above(version.threshold))
    assert "what counts is shown, from a score of 0.60 on, but nothing in more doubt" in notes[1]


@pytest.mark.parametrize("sides", [("inner",) * 3, ("inner",) * 3 + ("held-out",)])
def test_with_too_few_images_that_may_choose_what_counts_is_shown(
    services: Services, project: int, version: ModelVersion, snapshot: Any, sides: Any
) -> None:
    before = services.registry.champion_stamp("1")
    assert not show_least_work(services, project, version, snapshot(*sides), print)
    assert services.registry.policy("1", version) == Policy.of(version)
    assert services.registry.champion_stamp("1") == before


@pytest.mark.parametrize("number", [3, 4])
def test_the_size_of_cells_that_was_told_stays_whatever_is_shown(
    services: Services, project: int, version: ModelVersion, snapshot: Any, number: int
) -> None:
    told = replace(Policy.of(version), cell_diameter_px=22.0)
    services.registry.set_policy("1", version, lambda _: told)
    show_least_work(services, project, version, snapshot(*["inner"] * number), print)
    assert services.registry.policy("1", version).cell_diameter_px == 22.0


def test_what_is_chosen_by_hand_while_a_run_chooses_holds(
    services: Services, project: int, version: ModelVersion, snapshot: Any
) -> None:
    frozen, notes = snapshot(*["inner"] * 4), list[str]()

    def choose(note: str) -> None:  # as `cytoloop project` does, while the images are looked at
        notes.append(note)
        services.projects.change(project, least_work=False)
        told = replace(Policy.of(version), cell_diameter_px=40.0)
        services.registry.set_policy("1", version, lambda _: told)

    assert not show_least_work(services, project, version, frozen, choose)
    assert services.registry.policy("1", version) == Policy(version.threshold, cell_diameter_px=40)
    assert len(notes) == 1
    assert notes[0].startswith("on the average scores are")


def test_neither_what_taught_a_version_nor_what_judges_chooses_its_boxes(
    version: ModelVersion, snapshot: Any
) -> None:
    frozen = snapshot("train", "inner", "held-out")
    taught = LabelledImage(frozen.images[0].path, "taught", TEN_CELLS)
    page = replace(taught, side="inner", page=1, name="another page of what taught")
    chosen = unlearned(DatasetSnapshot((*frozen.images, taught, page), ("Cell",)), version)
    assert [image.name for image in chosen] == ["image1", "image2", page.name]


def test_a_manager_has_what_counts_shown_and_the_open_tasks_get_it(
    services: Services, project: int, version: ModelVersion, snapshot: Any
) -> None:
    run = services.runs.open(project, 5, "button")
    assert run is not None
    frozen = snapshot(*["inner"] * 4)
    frozen.save(run_folder(services.settings, run.id) / "snapshot.json")
    services.runs.start(run.id)
    services.runs.freeze(run.id, frozen.sha256, 4, [])
    show_anew(services, project, print)
    assert services.registry.policy("1", version).shown_from is not None
    services.projects.change(project, least_work=False)
    show_anew(services, project, print)
    assert services.registry.policy("1", version) == Policy.of(version)
    assert waiting(services, PUSH) == [f"{PUSH}-1-trained-1"]


def test_a_snapshot_that_cannot_be_used_gives_way_to_the_one_before(
    services: Services, project: int, version: ModelVersion, snapshot: Any
) -> None:
    frozen, notes = snapshot(*["inner"] * 4), list[str]()
    for milestone, text in ((5, ""), (10, "{"), (20, "{}")):
        run = services.runs.open(project, milestone, "milestone")
        assert run is not None
        services.runs.start(run.id)
        services.runs.freeze(run.id, frozen.sha256, milestone, [])
        file = run_folder(services.settings, run.id) / "snapshot.json"
        frozen.save(file)
        if text:
            file.write_text(text)
    show_anew(services, project, notes.append)
    assert services.registry.policy("1", version).shown_from is not None
    assert [note.split(":")[0] for note in notes[:2]] == [
        "what run 3 froze cannot be used",
        "what run 2 froze cannot be used",
    ]
    before = services.registry.champion_stamp("1")
    path = frozen.images[0].path
    path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    show_anew(services, project, notes.append)
    assert notes[-1] == (
        "what run 1 froze cannot be used: the raw file of image1 is damaged; import it again"
    )
    path.unlink()
    show_anew(services, project, notes.append)
    assert "run 1 froze cannot be used: NotFound: No raw image" in notes[-1]
    assert services.registry.champion_stamp("1") == before


def test_to_show_what_counts_nothing_that_a_run_froze_is_needed(
    services: Services, project: int, version: ModelVersion
) -> None:
    told = Policy(version.threshold, 0.21, Calibration(0.8, 0.1), cell_diameter_px=22)
    services.registry.set_policy("1", version, lambda _: told)
    show_anew(services, project, print)
    assert services.registry.policy("1", version) == told
    services.projects.change(project, least_work=False)
    show_anew(services, project, print)
    assert services.registry.policy("1", version) == Policy(version.threshold, cell_diameter_px=22)


def none_counts(boxes: int) -> np.ndarray:
    return np.zeros(boxes, np.bool_)


def expected_s(shown_from: float, probabilities: np.ndarray, cells: int, right_s: float) -> float:
    """Return the seconds that one image with so many cells is expected to take."""
    costs = Costs()
    shown = probabilities[probabilities >= shown_from]
    mended = shown * right_s + (1 - shown) * costs.delete_s
    return costs.image_s + mended.sum() + costs.add_s * (cells - shown.sum())


@pytest.mark.parametrize("right_s", [0.5, 2.0])
def test_as_few_boxes_are_shown_as_cost_hardly_more_than_the_least_time(right_s: float) -> None:
    probabilities = np.linspace(0.02, 0.98, 49)
    chosen = fewest_from(
        probabilities.astype(np.float32), none_counts(49), np.array([30]), Costs(), right_s
    )
    taken = {p: expected_s(p, probabilities, 30, right_s) for p in [0.0, *probabilities + 1e-6]}
    least_s = min(taken.values())
    assert expected_s(chosen, probabilities, 30, right_s) <= (1 + GIVEN_FOR_FEWER) * least_s
    one_fewer = np.sort(probabilities[probabilities >= chosen])[1]
    assert expected_s(one_fewer, probabilities, 30, right_s) > (1 + GIVEN_FOR_FEWER) * least_s
    cheapest = min(taken, key=taken.__getitem__)
    assert (probabilities >= chosen).sum() < (probabilities >= cheapest).sum()


def test_where_no_box_is_in_doubt_those_are_shown_that_save_time() -> None:
    sure = np.full(20, 0.99, np.float32)
    least = 1.5 / (1.5 + 7.0 - 0.5)
    chosen = fewest_from(sure, none_counts(20), np.array([20]), Costs(), right_s=0.5)
    assert chosen == pytest.approx(least, abs=1e-3)
    nothing = fewest_from(sure[:0], none_counts(0), np.array([20]), Costs(), right_s=0.5)
    assert nothing == pytest.approx(least, abs=1e-3)


def test_boxes_that_count_are_no_part_of_what_is_given_for_fewer() -> None:
    probabilities = np.array([0.3] * 20 + [0.35] * 3, np.float32)
    counts = np.array([True] * 20 + [False] * 3)
    assert fewest_from(probabilities, counts, np.array([40]), Costs(), right_s=0.5) is None
