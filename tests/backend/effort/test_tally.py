from __future__ import annotations

import pytest

from backend.actions import Actions
from backend.effort.tally import ByHand, Tally, Watchfulness, share_interval, work_of
from tests.backend.effort.conftest import correction


def test_images_that_only_lost_time_save_less_than_nothing() -> None:
    emptied = correction(1, cells=0, seconds=90.0, actions=Actions(deleted=2))
    assert Tally((emptied,)).hours_saved(72) == -90 / 3600
    assert Tally((correction(2, cells=0),)).hours_saved(72) is None


def test_the_effort_is_all_that_was_done_but_to_keep_for_each_cell() -> None:
    done = Actions(kept=32, moved=16, relabelled=8, deleted=4, added=2)
    assert Tally((correction(1, cells=50, actions=done),)).effort == 30 / 50
    assert Tally((correction(1, cells=0, actions=Actions(deleted=1)),)).effort is None


def test_images_whose_seconds_a_cell_are_known_are_those_with_cells_and_a_time() -> None:
    again = correction(1, cells=4, seconds=9.0, annotation=300, annotator="ben")
    tally = Tally(
        (
            *(correction(1, cells=4, seconds=8.0), again),
            *(correction(2, cells=4), correction(3, cells=0, seconds=8.0)),
        )
    )
    assert (tally.timed_images, tally.timed) == (1, ((8.0, 4), (9.0, 4)))
    assert (tally.images, tally.annotations, tally.cells) == (3, 4, 12)


@pytest.mark.parametrize(
    ("images", "cells", "told"), [(5, 10, 3.0), (4, 20, None), (5, 9, None), (50, 1, 30.0)]
)
def test_what_a_cell_takes_by_hand_is_told_from_five_images_and_fifty_cells_on(
    images: int, cells: int, told: float | None
) -> None:
    drawn = [correction(n, cells, seconds=30.0, start="nothing", served="") for n in range(images)]
    served = [correction(n, cells=90, seconds=9.0) for n in range(100, 110)]
    work = work_of([*drawn, *served], "v1")
    assert work.seconds_by_hand == ByHand(project=told)
    assert (work.by_hand.images, work.total.images, work.now.images) == (images, 10, 10)


def test_a_box_that_was_moved_counts_as_tight_from_its_overlap_on() -> None:
    actions = Actions(kept=1, moved=2, deleted=1, added=3)
    tally = Tally((correction(1, cells=6, actions=actions, overlaps=(0.75, 0.9)),))
    assert [tally.share_at(iou) for iou in (0.75, 0.8, 0.9, 0.95)] == [3 / 4, 2 / 4, 2 / 4, 1 / 4]
    assert Tally((correction(1, cells=2, actions=Actions(added=2)),)).share_at(0.75) is None


def test_what_an_annotator_found_in_watched_images_is_told_with_how_sure_it_is() -> None:
    blank = correction(1, cells=6, watched="blank", hidden=10, drawn=8)
    few = correction(2, cells=6, watched="fault", hidden=9, drawn=9, planted=3, accepted=1)
    told = Watchfulness((blank, few, few)).to_json()
    assert (told["blank_images"], told["fault_images"]) == (1, 2)
    assert told["recall_without_help"] == 0.8
    assert told["recall_without_help_interval"] == [0.4902, 0.9433]
    assert (told["recall_with_help"], told["recall_with_help_counts"]) == (1.0, [18, 18])
    assert (told["planted_rejected"], told["planted_rejected_counts"]) == (None, [4, 6])
    nothing = Watchfulness((blank,)).to_json()
    assert (nothing["planted_rejected_interval"], share_interval(0, 0)) == (None, None)
