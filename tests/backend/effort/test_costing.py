from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from backend.actions import Actions, Costs
from backend.effort.costing import BREAK, measured_costs, recent_seconds_of_right, without_breaks
from backend.store.corrections import Correction, Start

NOW = datetime(2026, 11, 26, tzinfo=UTC)
RNG = np.random.default_rng(3)


def correction(
    number: int, actions: Actions, seconds: float, start: Start = "prediction"
) -> Correction:
    told = (number, 1, number, NOW, "ada", start, "v1+t0.5", "low", actions, 20)
    return Correction(*told, totals_s=(seconds,))


def made_by(costs: Costs, images: int) -> list[Correction]:
    made = []
    for number in range(images):
        kept, moved, deleted, added = RNG.integers(0, 12, 4).tolist()
        actions = Actions(kept, moved, 0, deleted, added)
        made.append(correction(number, actions, costs.seconds(actions) * RNG.uniform(0.8, 1.2)))
    return made


def test_without_a_time_the_costs_are_those_assumed() -> None:
    assert measured_costs([]) == Costs()


def test_annotators_of_their_own_pace_are_measured() -> None:
    true = Costs(add_s=14.0, move_s=3.0, delete_s=3.0)
    found = measured_costs(made_by(true, images=150))
    assert found.add_s == pytest.approx(14.0, rel=0.15)
    assert found.move_s == pytest.approx(3.0, rel=0.35)
    assert found.delete_s == pytest.approx(3.0, rel=0.5)
    assert found.relabel_s == pytest.approx(2.0)  # nothing was relabelled: as assumed


def test_few_images_move_the_costs_little() -> None:
    found = measured_costs(made_by(Costs(add_s=28.0), images=2))
    assert 7.0 < found.add_s < 14.0


def test_a_break_in_one_image_is_not_taken_for_work() -> None:
    made = made_by(Costs(), images=60)
    broken = [*made, correction(99, Actions(kept=10, added=10), 3000.0)]
    assert measured_costs(broken).add_s == pytest.approx(measured_costs(made).add_s, rel=0.2)


def test_what_is_far_beyond_a_projects_own_pace_is_a_break() -> None:
    made = made_by(Costs(), images=20)
    lunch = correction(99, Actions(kept=90, added=10), 7200.0)
    *worked, cut = without_breaks([*made, lunch])
    assert [c.seconds for c in worked] == [c.seconds for c in made]
    assert cut.seconds == pytest.approx(BREAK * Costs().seconds(lunch.actions), rel=0.2)


def test_drawing_at_the_pace_of_drawing_by_hand_is_no_break() -> None:
    by_hand = [correction(n, Actions(added=20), 20 * 72.0, start="nothing") for n in range(8)]
    assert [c.seconds for c in without_breaks(by_hand)] == [20 * 72.0] * 8
    (alone,) = without_breaks(by_hand[:1])
    assert alone.seconds == 20 * 72.0


def test_less_than_a_minute_is_never_a_break() -> None:
    (looked,) = without_breaks([correction(1, Actions(kept=1), 59.0)])
    assert looked.seconds == 59.0


def test_what_was_imported_took_nobody_any_time() -> None:
    assert measured_costs([correction(1, Actions(added=9), 900.0, start="import")]) == Costs()


def test_a_box_on_a_cell_costs_what_those_served_did_on_the_average() -> None:
    worked = [correction(1, Actions(kept=8, moved=2, deleted=5, added=10), 100.0)]
    assert recent_seconds_of_right(worked, Costs()) == pytest.approx((8 * 0.5 + 2 * 4.0) / 10)
    assert recent_seconds_of_right([], Costs()) == 0.5


def test_the_loose_boxes_of_earlier_versions_say_nothing_of_those_of_today() -> None:
    loose = [correction(n, Actions(moved=20), 100.0) for n in range(30)]
    tight = [correction(n, Actions(kept=20), 20.0) for n in range(30, 40)]
    drawn = correction(40, Actions(added=20), 200.0, start="nothing")
    assert recent_seconds_of_right([*loose, *tight, drawn], Costs()) == 0.5
