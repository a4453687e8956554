import pytest

from model.config import TrainConfig
from model.training.schedule import Schedule, iterations_for, share_of_rate

CONFIG = TrainConfig(iterations=400, warmup=40, learning_rate=0.1)


@pytest.mark.parametrize(
    ("images", "cells", "least", "most"),
    [(4, 20, 100, 200), (4, 400, 400, 700), (20, 200, 200, 400), (400, 5000, 1000, 2000)],
)
def test_more_images_and_cells_are_worth_more_iterations_up_to_a_cap(images, cells, least, most):
    assert least <= iterations_for(images, cells, begun=True) <= most


@pytest.mark.parametrize(("images", "cells", "most"), [(10, 550, 2600), (400, 5000, 4000)])
def test_a_training_from_nothing_takes_longer_up_to_a_cap_of_its_own(images, cells, most):
    begun, from_nothing = (iterations_for(images, cells, begun=known) for known in (True, False))
    assert 2 * begun <= from_nothing <= most


def test_the_rate_warms_up_and_falls_to_nothing():
    rates = [share_of_rate(i, CONFIG) for i in range(400)]
    assert 0 < rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 40
    assert 0 < rates[-1] < 0.001


def test_a_schedule_that_is_cut_ends_soon_and_its_rate_falls_to_nothing_from_where_it_was():
    whole = Schedule(CONFIG)
    shorter = whole.shortened(200)
    assert (whole.end, shorter.end) == (400, 250)
    rates = [shorter.rate(i) for i in range(200, 250)]
    assert rates[0] == pytest.approx(whole.rate(200))
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.03 * rates[0]


def test_a_schedule_is_cut_once_and_never_made_longer():
    whole = Schedule(CONFIG)
    assert whole.shortened(350) == whole
    shorter = whole.shortened(349)
    assert shorter.end == 399
    assert shorter.shortened(340) == shorter
