import numpy as np
import pytest

from model.judging.ranges import FEWEST, CountRange, range_of, range_of_sum

RNG_SEED = 20261129


def counted(rng, images, bias=0.9):
    """Predicted and true counts: of 10 to 200 cells some are missed, some are no cells."""
    true = rng.integers(10, 200, images)
    predicted = rng.binomial(true, bias) + rng.poisson(3, images)
    return [(int(p), int(t)) for p, t in zip(predicted, true, strict=True)]


def test_of_nine_images_the_one_that_is_farthest_off_is_the_range():
    judged = tuple((24, 24 + off) for off in (0, 1, -2, 3, 0, -4, 1, 5, 0))
    assert range_of(24, judged) == CountRange(19, 29)
    # The root of 100 is twice that of 25.
    assert range_of(99, judged) == CountRange(89, 109)


def test_of_more_images_a_tenth_may_be_farther_off():
    judged = tuple((24, 24 + off) for off in (*range(1, 19), 40))
    assert range_of(24, judged) == CountRange(6, 42)


def test_a_count_has_no_range_where_too_few_images_judged():
    judged = ((24, 24),) * (FEWEST - 1)
    assert range_of(24, judged) is None
    assert range_of_sum([24], judged) is None
    assert range_of(24, (*judged, (24, 24))) == CountRange(24, 24)


def test_no_range_goes_below_none():
    judged = ((9, 0),) * FEWEST
    assert range_of(1, judged) == CountRange(0, 5)
    assert range_of_sum([1, 2], judged).low == 0


def test_a_sum_has_the_range_of_what_other_counts_were_off():
    judged = tuple((10, 10 + off) for off in (1, 3) * 8)
    # t of 15 degrees at 97.5 % is 2.131; of the 16 and two that are 3 off the deviation is 1.555.
    margin = 2.131 * 1.555 * np.sqrt(100 * (100 / 16 + 1))
    low, high = np.floor(1200 - margin), np.ceil(1200 + margin)
    assert range_of_sum([10] * 100, judged) == CountRange(low, high)


@pytest.mark.parametrize("known", [9, 20, 60])
def test_ranges_hold_as_often_as_they_say(known):
    rng, images, sums = np.random.default_rng(RNG_SEED), [], []
    for _ in range(300):
        judged, others = tuple(counted(rng, known)), counted(rng, 30)
        for predicted, true in others:
            found = range_of(predicted, judged)
            images.append(found.low <= true <= found.high)
        found = range_of_sum([predicted for predicted, _ in others], judged)
        sums.append(found.low <= sum(true for _, true in others) <= found.high)
    assert 0.89 < np.mean(images) < 0.95
    assert np.mean(sums) > 0.94
