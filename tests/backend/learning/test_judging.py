from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import tifffile

from backend.learning.judging import ALL_ALIKE, judge_beside_champion
from backend.learning.snapshots import build_snapshot
from backend.services import Services
from backend.store.predictions import StoredPrediction, Watch
from model.classical.detector import classical_version
from model.generated.fields import EASY, HARD
from model.labels.examples import DatasetSnapshot
from model.versions import GateDecision, ModelVersion
from tests.backend.learning.conftest import field_of

CHAMPION = classical_version()


@pytest.fixture
def snapshot(services: Services, project: int, correct_fields: Any) -> DatasetSnapshot:
    """Five corrected fields, one of them held out."""
    correct_fields(range(5))
    return build_snapshot(services, project, print)


def judged(
    services: Services, project: int, snapshot: DatasetSnapshot, candidate: ModelVersion = CHAMPION
) -> GateDecision:
    return judge_beside_champion(services, project, candidate, CHAMPION, snapshot)


def test_the_held_out_images_judge_and_the_same_boxes_are_no_gain(
    services: Services, project: int, snapshot: DatasetSnapshot
) -> None:
    decision = judged(services, project, snapshot)
    (held_out,) = snapshot.of_side("held-out")
    assert [image.sha256 for image in decision.images] == [held_out.sha256]
    assert decision.candidate == decision.champion
    assert not decision.promoted


def test_a_version_without_classes_is_judged_by_the_class_that_the_project_gives_its_boxes(
    services: Services, project: int, snapshot: DatasetSnapshot
) -> None:
    services.projects.change(project, default_class="Debris")
    found = judged(services, project, snapshot).champion
    assert found is not None
    assert found.by_class["Cell"].ap50 == 0 < found.any_class.ap50


def test_images_corrected_since_the_snapshot_froze_join_the_evidence(
    services: Services, project: int, snapshot: DatasetSnapshot, correct_fields: Any
) -> None:
    correct_fields(range(5, 8))
    decision = judged(services, project, snapshot)
    assert [image.is_beside_snapshot for image in decision.images] == [False, True, True, True]
    assert decision.reasons[0].endswith("16 cells, 3 of them corrected beside the training")
    # Their side is decided by the next run, as if they had not judged.
    assert [i.side for i in services.images.all(project)].count(None) == 3


def test_another_picture_of_a_field_that_taught_is_no_evidence(
    services: Services, project: int, snapshot: DatasetSnapshot, add_image: Any, correct: Any
) -> None:
    taught = snapshot.of_side("train")[0].read().pixels
    add_image(9, taught + 1)
    correct([9])
    assert len(judged(services, project, snapshot).images) == 1


def test_a_held_out_image_that_one_which_taught_since_is_like_judges_for_want_of_others_alone(
    services: Services, project: int, snapshot: DatasetSnapshot, correct_fields: Any
) -> None:
    (held_out,), taught = snapshot.of_side("held-out"), snapshot.of_side("train")[0]
    services.images.set_fingerprint(held_out.sha256, 0, f"{0:016x}")
    services.images.set_fingerprint(taught.sha256, 0, f"{0xFF:016x}")
    alone = judged(services, project, snapshot)
    assert [image.sha256 for image in alone.images] == [held_out.sha256]
    assert alone.reasons[-1] == ALL_ALIKE
    correct_fields([5])
    assert len(judged(services, project, snapshot).images) == 1
    services.images.set_fingerprint(taught.sha256, 0, f"{0xFFF:016x}")
    unlike = judged(services, project, snapshot)
    assert len(unlike.images) == 2
    assert ALL_ALIKE not in unlike.reasons


@pytest.mark.parametrize("learned", ["candidate", "champion"])
def test_what_one_version_alone_has_learned_from_does_not_judge(
    services: Services,
    project: int,
    snapshot: DatasetSnapshot,
    learned: str,
    correct_fields: Any,
) -> None:
    (held_out,) = snapshot.of_side("held-out")
    versions = {"candidate": CHAMPION, "champion": CHAMPION}
    versions[learned] = replace(CHAMPION, lineage=(held_out.sha256,))
    decision = judge_beside_champion(services, project, snapshot=snapshot, **versions)
    assert not decision.promoted
    assert decision.reasons[0].startswith("there is no corrected image that candidate and champion")
    correct_fields([5])
    decision = judge_beside_champion(services, project, snapshot=snapshot, **versions)
    assert len(decision.images) == 1
    assert decision.reasons[-1] == (
        "left out: 1 corrected image, since candidate or champion has learned from it"
    )


def test_a_held_out_page_of_a_stack_judges_though_another_page_taught(
    services: Services, project: int, correct: Any, regions: Any
) -> None:
    fields = [field_of(seed, 4, HARD) for seed in range(5)]
    stack = io.BytesIO()
    tifffile.imwrite(stack, np.stack([field.pixels for field in fields]), photometric="minisblack")
    sha256 = services.images.keep(stack.getvalue())
    for page, field in enumerate(fields):
        services.images.add(project, sha256, page, "stack.tif", 96, 96)
        services.images.attach_task(project, sha256, page, page)
        correct([page], regions(*field.boxes, width=96, height=96))
    snapshot = build_snapshot(services, project, print)
    decision = judged(services, project, snapshot, replace(CHAMPION, lineage=(sha256,)))
    (held_out,) = snapshot.of_side("held-out")
    assert [(image.sha256, image.page) for image in decision.images] == [(sha256, held_out.page)]


def test_what_both_have_learned_from_judges_where_there_is_nothing_else(
    services: Services, project: int, snapshot: DatasetSnapshot, correct_fields: Any
) -> None:
    (held_out,) = snapshot.of_side("held-out")
    both = replace(CHAMPION, lineage=(held_out.sha256,))
    decision = judge_beside_champion(services, project, both, both, snapshot)
    assert [image.is_seen for image in decision.images] == [True]
    assert decision.reasons[1].startswith("both have learned from these images")
    correct_fields([5])
    decision = judge_beside_champion(services, project, both, both, snapshot)
    assert [image.is_seen for image in decision.images] == [False]


def test_each_image_says_whose_boxes_its_truth_began_as(
    services: Services, project: int, snapshot: DatasetSnapshot, correct_fields: Any
) -> None:
    correct_fields([5])
    for annotation in services.annotations.corrected(project):
        image = services.images.of_task(project, annotation.task)
        assert image is not None
        shown = [dict(region) for region in annotation.result]
        if annotation.task != 5:
            services.predictions.put(
                StoredPrediction(
                    project, annotation.task, image.sha256, 0, "classical-1+t0.5", shown
                )
            )
    decision = judged(services, project, snapshot)
    assert [image.began_as for image in decision.images] == ["classical-1", ""]
    opened = "1 of these images opened with boxes of the champion, 1 without boxes"
    assert decision.reasons[1] == opened
    (held_out,) = snapshot.of_side("held-out")
    shows = {i.sha256: task for task, i in services.images.of_tasks(project).items()}
    services.annotations.delete(project, [shows[held_out.sha256] + 1])
    assert [image.began_as for image in judged(services, project, snapshot).images] == ["", ""]


def test_the_truth_of_a_page_that_opened_blank_began_as_nobodys_boxes(
    services: Services, project: int, snapshot: DatasetSnapshot
) -> None:
    for annotation in services.annotations.corrected(project):
        image = services.images.of_task(project, annotation.task)
        assert image is not None
        blank = Watch("blank", annotation.result, 0, ())
        shown = (project, annotation.task, *image.key, "classical-1+t0.5", [])
        services.predictions.put(
            StoredPrediction(*shown, created_at=annotation.created_at, watch=blank)
        )
        later = annotation.updated_at + timedelta(minutes=1)
        services.annotations.record(replace(annotation, parent_prediction=1, updated_at=later))
    assert [image.began_as for image in judged(services, project, snapshot).images] == [""]


@pytest.mark.integration
def test_strata_of_contrast_are_set_when_ten_images_judge_and_stay(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(3))  # one of them is held out
    snapshot = build_snapshot(services, project, print)
    judged(services, project, snapshot)
    assert services.projects.get(project).strata is None
    correct_fields(range(3, 12))
    decision = judged(services, project, snapshot)
    assert len(decision.images) == 10
    strata = services.projects.get(project).strata
    assert strata is not None
    assert {image.stratum for image in decision.images} == {"low", "medium", "high"}
    correct_fields([12], style=EASY)
    assert len(judged(services, project, snapshot).images) == 11
    assert services.projects.get(project).strata == strata
