from __future__ import annotations

from benchmarks.ranges import error_in_interval


def test_the_error_of_all_images_is_looked_for_in_the_interval_of_those_that_judge() -> None:
    alike = [(9, 10), (11, 10)] * 10
    assert error_in_interval(alike, 10)
    assert not error_in_interval([*alike[:10], *[(20, 10)] * 10], 10)
