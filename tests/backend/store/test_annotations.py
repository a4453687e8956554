from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.errors import NotFound
from backend.labelstudio.annotation import Annotation
from backend.settings import Settings
from backend.store.annotations import Annotations
from backend.store.images import Images
from backend.store.projects import Projects
from backend.store.tables import annotations
from tests.backend.conftest import LABEL_CONFIG, asked_of, show_images


@pytest.fixture
def store(engine: Engine) -> Annotations:
    return Annotations(engine)


def test_an_annotation_comes_back_as_it_went_in(store: Annotations, payload: Any) -> None:
    sent = Annotation.from_label_studio(payload("ANNOTATION_CREATED-ui")["annotation"], 1)
    assert store.record(sent)
    assert store.corrected(1) == [sent]


def test_a_doubled_event_changes_nothing(store: Annotations, annotated: Any) -> None:
    assert [store.record(annotated(1, task=1)) for _ in range(3)] == [True, False, False]
    assert len(store.corrected(1)) == 1


def test_the_newest_state_wins_in_whatever_order_the_events_arrive(
    store: Annotations, annotated: Any
) -> None:
    created = annotated(0, task=0)
    states = [
        replace(created, updated_at=annotated(0, 0, minute).updated_at, lead_time=float(minute))
        for minute in range(3)
    ]
    for id, order in enumerate(permutations(states)):
        for state in order:
            store.record(replace(state, id=id, task=id))
    assert [a.lead_time for a in store.corrected(1)] == [2.0] * 6


def test_an_event_is_late_if_a_newer_state_of_its_own_annotation_is_known(
    store: Annotations, annotated: Any, engine: Engine, tmp_path: Path
) -> None:
    projects = Projects(engine, Settings(home=tmp_path))
    first, other = annotated(1, task=1, minute=2), annotated(2, task=2, minute=9)
    for event in (first, other, first):
        store.record(event)
    assert projects.get(1).late_events == 0
    earlier = annotated(1, task=1, minute=1)
    store.record(earlier)
    assert projects.get(1).late_events == 1
    store.delete(1, [1])
    store.record(earlier)
    assert projects.get(1).late_events == 1


def test_a_deleted_annotation_does_not_come_back(store: Annotations, annotated: Any) -> None:
    store.record(annotated(1, task=1))
    assert store.delete(1, [1]) == 1
    late = replace(annotated(1, task=1, minute=5), created_at=annotated(1, task=1).created_at)
    assert not store.record(late)
    assert store.corrected(1) == []


def test_what_label_studio_lists_takes_the_place_of_what_was_held_before_it_was_asked(
    store: Annotations, annotated: Any
) -> None:
    first, newer = annotated(1, task=1), annotated(1, task=1, minute=5)
    newer = replace(newer, created_at=first.created_at)
    store.record(newer)
    assert store.record(first, store.held(1)[1])
    assert not store.record(first, store.held(1)[1])
    assert store.corrected(1) == [first]
    deleted = [store.delete(1, [1, 2]), store.held(1)][1]
    assert store.record(first, deleted[1])
    assert store.record(annotated(2, task=2), deleted[2])  # deleted before it was known
    assert not store.record(first, deleted[1])
    assert set(store.known(1)) == {1, 2}


def test_a_number_that_is_given_again_is_another_annotation_s(
    store: Annotations, annotated: Any
) -> None:
    store.record(annotated(1, task=1))
    store.delete(1, [1])
    another = annotated(1, task=2, minute=5)
    assert store.record(another)
    assert store.corrected(1) == [another]
    assert store.delete(1, [1]) == 1


def test_one_deleted_before_it_was_known_does_not_come_at_all(
    store: Annotations, annotated: Any
) -> None:
    assert store.delete(1, [1, 2]) == 0
    assert not store.record(annotated(1, task=1))
    assert store.corrected(1) == []


def test_a_doubled_deletion_is_counted_once(store: Annotations, annotated: Any) -> None:
    store.record(annotated(1, task=1))
    assert [store.delete(1, [1, 1]), store.delete(1, [1])] == [1, 0]
    assert store.number(1) == 0


def test_a_skipped_task_is_no_training_data(store: Annotations, payload: Any) -> None:
    values = payload("ANNOTATION_CREATED-cancelled")["annotation"]
    assert store.record(Annotation.from_label_studio(values, 1))
    assert store.number(1) == len(store.known(1)) == 1
    assert store.corrected(1) == []


def test_of_two_annotations_of_a_task_the_newest_that_was_not_skipped_counts(
    store: Annotations, annotated: Any
) -> None:
    store.record(annotated(1, task=1, minute=1))
    store.record(annotated(2, task=1, minute=3))
    store.record(annotated(3, task=1, minute=5, was_cancelled=True))
    assert [a.id for a in store.corrected(1)] == [2]


def test_an_image_that_two_tasks_show_is_corrected_once(
    store: Annotations, annotated: Any, engine: Engine
) -> None:
    images = Images(engine, Path())
    for sha256, shown_by in (("a" * 64, (1, 2)), ("b" * 64, (3,))):
        images.add(1, sha256, 0, "smear.png", 8, 8)
        for task in shown_by:
            images.attach_task(1, sha256, 0, task)
    for task in (1, 2, 3):
        store.record(annotated(task, task=task))
    assert store.corrected_count(1) == 2


def test_a_correction_counts_once_its_image_has_come(
    store: Annotations, annotated: Any, engine: Engine, tmp_path: Path
) -> None:
    Projects(engine, Settings(home=tmp_path)).ensure(2, "proj2", LABEL_CONFIG)
    for task in (1, 2, 3):
        store.record(annotated(task, task=task, was_cancelled=task == 3))
    show_images(Images(engine, Path()), 1, [1])
    show_images(Images(engine, Path()), 2, [2])  # an image of another project is not the task's
    assert (store.corrected_count(1), store.lacking_image(1)) == (1, {2})


def test_corrections_come_in_the_order_in_which_tasks_were_first_corrected(
    store: Annotations, annotated: Any
) -> None:
    store.record(annotated(1, task=8, minute=1))
    store.record(annotated(2, task=3, minute=2))
    store.record(annotated(3, task=8, minute=9))
    assert [(a.task, a.id) for a in store.corrected(1)] == [(8, 3), (3, 2)]


def test_an_annotation_without_boxes_is_a_correction(store: Annotations, annotated: Any) -> None:
    store.record(annotated(1, task=1, labels=()))
    assert store.corrected(1)[0].result == ()


@pytest.mark.parametrize(
    "beside",
    [
        {"id": "r", "type": "rating", "value": {"rating": 4}},
        {"id": "n", "type": "number", "value": {"number": 5.5}},
        {"id": "t", "type": "textarea", "value": {"text": ["blurred"]}},
        {"id": "c", "type": "choices", "value": {"choices": ["Debris"]}},
        {"id": "e", "type": "relation"},
    ],
)
def test_what_else_is_asked_of_an_annotator_is_kept_and_counts_as_no_label(
    store: Annotations, annotated: Any, engine: Engine, beside: dict[str, Any]
) -> None:
    drawn = annotated(1, task=1)
    sent = replace(drawn, result=(*drawn.result, beside))
    assert store.record(sent)
    assert store.corrected(1) == [sent]
    with engine.connect() as connection:
        assert connection.scalar(select(annotations.c.labels)) == {"Cell": 1}


def test_annotations_of_an_unknown_project_are_refused(store: Annotations, annotated: Any) -> None:
    with pytest.raises(NotFound, match="Project 7"):
        store.record(annotated(1, task=1, project=7))


def test_doubled_events_on_many_threads_are_recorded_once(
    store: Annotations, annotated: Any
) -> None:
    with ThreadPoolExecutor(8) as threads:
        recorded = list(threads.map(lambda _: store.record(annotated(1, task=1)), range(32)))
    assert recorded.count(True) == 1


def test_an_event_of_another_project_deletes_nothing_of_this_one(
    store: Annotations, engine: Engine, tmp_path: Path, annotated: Any
) -> None:
    Projects(engine, Settings(home=tmp_path)).ensure(2, "proj2", LABEL_CONFIG)
    store.record(annotated(1, task=1))
    assert store.delete(2, [1]) == 0
    assert store.known(1) == {1: 1}


def test_many_annotations_are_deleted_in_parts_each_soon_done(
    store: Annotations, engine: Engine, annotated: Any
) -> None:
    store.record(annotated(2500, task=1))
    with asked_of(engine) as statements:
        assert store.delete(1, range(1, 2501)) == 1
    assert sum("INSERT INTO annotations" in one for one in statements) < 10
    assert len(store.held(1)) == 2500
    assert store.known(1) == {}
