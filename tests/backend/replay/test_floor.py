from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.actions import Costs
from backend.errors import BadRequest
from backend.learning.showing import fewest_from
from backend.replay.floor import all_teach, cross_validated, served_as_in_the_loop
from backend.replay.ledger import Ledger
from backend.replay.playing import LabelledSet, Play
from backend.settings import Settings
from model.boxes import Box
from model.judging.policy import Policy
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.hashing import sha256_of
from tests.backend.serving.conftest import TEN_CELLS, StandIns, found_with_false_boxes


@pytest.fixture
def taught(tmp_path: Path) -> LoadedVersion:
    """A version whose surer five of ten cells count."""
    registry = StandIns(tmp_path / "registry")
    registry.found["trained-1"] = found_with_false_boxes()
    version = ModelVersion("trained-1", "trained", ("Cell",), 0.6)
    registry.add(version, ContrastGroups.none(), None)
    return registry.load(version.id)


def images(folder: Path, number: int, boxes: tuple[Box, ...] = TEN_CELLS) -> list[LabelledImage]:
    made = []
    for grey in range(90, 90 + number):
        path = folder / f"{grey}.png"
        Image.fromarray(np.full((48, 64), grey, np.uint8)).save(path)
        made.append(LabelledImage(path, sha256_of(path), boxes, "inner"))
    return made


def test_the_floor_shows_the_boxes_that_a_run_would_choose_to_show(
    taught: LoadedVersion, tmp_path: Path
) -> None:
    loaded = served_as_in_the_loop(taught, images(tmp_path, 4), "Cell")
    # The boxes that count lie on their cells: a glance at each.
    found = found_with_false_boxes()
    likely = np.tile(loaded.policy.calibration.probabilities(found.scores), 4)
    counts = np.tile(found.scores >= taught.version.threshold, 4)
    fewest = fewest_from(likely, counts, np.array([10] * 4), Costs(), right_s=0.5)
    assert loaded.policy.shown_from == pytest.approx(fewest, abs=1e-3)
    assert loaded.policy.counted_from == taught.version.threshold


@pytest.mark.parametrize(("number", "cells"), [(3, 10), (4, 9)])
def test_where_a_run_would_show_what_counts_the_floor_does(
    taught: LoadedVersion, tmp_path: Path, number: int, cells: int
) -> None:
    few = images(tmp_path, number, TEN_CELLS[:cells])
    loaded = served_as_in_the_loop(taught, few, "Cell")
    assert loaded.policy == Policy.of(taught.version)


def test_a_floor_goes_on_with_the_trainings_it_began_with(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "floor.csv")
    settings = Settings(home=tmp_path / "home")
    how = Play().chosen("floor", settings, start=settings.first_version, folds=2)
    ledger.keep_to(how)
    longer = settings.model_copy(update={"iterations": 900})
    labelled = LabelledSet(images(tmp_path, 4), ("Cell",))
    with pytest.raises(BadRequest, match=r"iterations 0, .* iterations 900"):
        next(cross_validated(longer, labelled, ledger, Play(folds=2)))


def test_frames_of_one_field_teach_on_one_side_of_the_floor(tmp_path: Path) -> None:
    groups = [number // 2 for number in range(80)]
    sides = defaultdict(set)
    for group, image in zip(groups, all_teach(images(tmp_path, 80), groups), strict=True):
        sides[group].add(image.side)
    assert all(len(of_field) == 1 for of_field in sides.values())
    assert set.union(*sides.values()) == {"train", "inner"}
