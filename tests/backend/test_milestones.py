from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.milestones import next_milestone, upcoming_milestones, way_to

MILESTONES, STEP = (5, 10, 20, 40, 80), 50


@pytest.mark.parametrize(
    ("corrected", "done", "expected"),
    [
        (0, (), None),
        (4, (), None),
        (5, (), 5),
        (6, (), 5),
        (6, (5,), None),
        (12, (5,), 10),
        (12, (), 10),
        (80, (5, 10, 20, 40), 80),
        (129, (80,), None),
        (130, (80,), 130),
        (179, (80,), 130),
        (500, (80,), 480),
    ],
)
def test_the_highest_milestone_that_is_reached_is_due(
    corrected: int, done: tuple[int, ...], expected: int | None
) -> None:
    assert next_milestone(corrected, MILESTONES, STEP, done) == expected


def test_a_jump_over_two_milestones_opens_one_run() -> None:
    done: set[int] = {4}
    due = next_milestone(12, MILESTONES, STEP, done)
    assert due == 10
    assert next_milestone(12, MILESTONES, STEP, {*done, due}) is None


def test_a_run_by_the_button_does_the_work_of_the_milestones_below() -> None:
    assert next_milestone(12, MILESTONES, STEP, {12}) is None
    assert next_milestone(20, MILESTONES, STEP, {12}) == 20


def test_deleted_corrections_do_not_bring_a_milestone_back() -> None:
    assert next_milestone(12, MILESTONES, STEP, {20}) is None


def test_without_a_step_the_last_milestone_is_the_last() -> None:
    assert next_milestone(500, MILESTONES, 0, {80}) is None
    assert list(upcoming_milestones(9, (5, 10), 0, ())) == [10]
    assert list(upcoming_milestones(10, (5, 10), 0, ())) == []
    assert way_to(None, 10, (5, 10), 0) == 1.0


def test_a_step_of_one_starts_a_run_at_each_image_after_the_last_milestone() -> None:
    assert next_milestone(82, MILESTONES, 1, {80, 81}) == 82
    assert list(islice(upcoming_milestones(80, MILESTONES, 1, ()), 2)) == [81, 82]


def test_without_milestones_each_step_is_one() -> None:
    assert next_milestone(49, (), 50, ()) is None
    assert next_milestone(101, (), 50, ()) == 100
    assert list(islice(upcoming_milestones(101, (), 50, ()), 2)) == [150, 200]


@pytest.mark.parametrize(
    ("corrected", "upcoming", "way"),
    [(0, 5, 0.0), (4, 5, 0.8), (5, 10, 0.0), (80, 130, 0.0), (105, 130, 0.5), (130, 180, 0.0)],
)
def test_the_way_to_the_next_training_is_known(corrected: int, upcoming: int, way: float) -> None:
    assert next(upcoming_milestones(corrected, MILESTONES, STEP, ())) == upcoming
    assert way_to(upcoming, corrected, MILESTONES, STEP) == pytest.approx(way)


def test_the_milestones_to_come_are_above_what_is_corrected_and_what_a_run_learned_from() -> None:
    def coming(done: set[int], number: int) -> list[int]:
        return list(islice(upcoming_milestones(6, MILESTONES, STEP, done), number))

    assert coming({5}, 5) == [10, 20, 40, 80, 130]
    assert coming({5, 40}, 2) == [80, 130]  # of what was corrected then, most was deleted since


@given(
    order=st.lists(st.integers(0, 300), min_size=1, max_size=60),
    step=st.integers(0, 60),
)
def test_however_the_count_jumps_runs_open_at_ascending_milestones(
    order: list[int], step: int
) -> None:
    opened: list[int] = []
    for corrected in order:
        due = next_milestone(corrected, MILESTONES, step, opened)
        if due is not None:
            assert due <= corrected
            opened.append(due)
    assert opened == sorted(set(opened))
