from __future__ import annotations

import pytest

from backend.effort.forecasting import (
    LAST,
    TOO_FEW,
    UNTAUGHT,
    Forecast,
    ImageWork,
    forecast,
)

COMING = (80, 130, 180, 230, 280)


def images(effort: float, number: int = 8, cells: int = 100) -> list[ImageWork]:
    return [ImageWork(round(effort * cells), cells)] * number


def test_a_power_law_is_found_again_and_read_off_at_the_next_milestone() -> None:
    law = {n: images(n**-0.5, cells=10_000) for n in (5, 10, 20, 40)}
    found = forecast(law, 40, COMING)
    assert isinstance(found, Forecast)
    assert found.at == 80
    assert found.now == pytest.approx(40**-0.5, rel=1e-3)
    assert found.then == pytest.approx(80**-0.5, rel=1e-3)
    assert found.between.low == pytest.approx(found.between.high)  # all images are alike
    assert found.verdict == "go on"
    assert found.enough_at == 130  # 80 to 130 saves 0.024, 130 to 180 only 0.013


def test_what_is_expected_is_told_by_the_images_as_they_are_not_by_a_resample() -> None:
    mixed = [ImageWork(actions, 10) for actions in (6, 4, 5, 7, 3)]
    found = forecast({5: mixed, 10: mixed}, 10, (20,))
    assert isinstance(found, Forecast)
    assert (found.now, found.then) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.enough_at == 10


def test_labelling_on_is_advised_until_milestones_save_nothing_worth_having() -> None:
    flat = {5: images(0.31), 10: images(0.30), 20: images(0.30)}
    found = forecast(flat, 20, (40, 80))
    assert isinstance(found, Forecast)
    assert found.verdict == "stop"
    assert found.enough_at == 20
    steep = forecast({5: images(0.8), 10: images(0.5), 20: images(0.3)}, 20, COMING)
    assert isinstance(steep, Forecast)
    assert steep.verdict == "go on"
    assert steep.enough_at > 80


def test_with_images_that_differ_much_a_small_gain_is_not_taken_for_none() -> None:
    mixed = [ImageWork(actions, 10) for actions in (0, 10, 1, 0, 9)]
    found = forecast({5: mixed, 10: mixed}, 10, (20,))
    assert isinstance(found, Forecast)
    assert found.between.low < found.then < found.between.high
    assert found.verdict == "unsure"


def test_a_rising_effort_is_held_level_and_never_taken_for_all_learned() -> None:
    found = forecast({5: images(0.2), 10: images(0.4)}, 10, (20,))
    assert isinstance(found, Forecast)
    assert found.now == found.then
    assert found.gain.high < 0
    assert found.verdict == "unsure"


def test_images_of_one_cell_are_enough_for_a_forecast() -> None:
    assert isinstance(forecast({5: images(1, 5, 1), 10: images(1, 5, 1)}, 10, (20,)), Forecast)


def test_one_hard_image_does_not_end_the_labelling() -> None:
    assert forecast({5: images(0.8, 5), 10: images(1.0, 1)}, 10, (20,)) == TOO_FEW


@pytest.mark.parametrize(
    ("known", "learned", "coming", "why"),
    [
        ({}, 0, COMING, TOO_FEW),
        ({0: images(0.9)}, 5, COMING, TOO_FEW),
        ({0: images(0.9), 5: images(0.5)}, 5, COMING, TOO_FEW),
        ({5: images(0.5), 10: [ImageWork(0, 0)] * 8}, 10, COMING, TOO_FEW),
        ({5: images(0.5), 10: images(0.4, 4)}, 10, COMING, TOO_FEW),
        ({5: images(0.5), 10: images(0.4)}, 10, (), LAST),
        ({5: images(0.5)}, 5, (), LAST),
        ({5: images(0.5), 10: images(0.4)}, 0, COMING, UNTAUGHT),
    ],
)
def test_where_there_is_no_forecast_its_cause_is_told(known, learned, coming, why) -> None:  # type: ignore[no-untyped-def]
    assert forecast(known, learned, coming) == why


def test_versions_without_a_single_correction_have_a_forecast_too() -> None:
    found = forecast({5: images(0.1), 10: images(0.0)}, 10, (20,))
    assert isinstance(found, Forecast)
    assert 0 <= found.then < 0.1
