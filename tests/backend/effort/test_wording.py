from __future__ import annotations

import pytest

from backend.actions import Costs
from backend.effort.tally import work_of
from backend.effort.wording import seconds_line, work_lines
from tests.backend.effort.conftest import correction


def test_what_is_not_known_of_the_work_has_no_line() -> None:
    assert work_lines(work_of([], "v1")) == []
    (now, told), (so_far, _) = work_lines(work_of([correction(1, cells=4)], "v1"))
    assert (now, so_far) == ("now", "so far")
    assert told.endswith("a cell (drawing everything is 1), with the champion's boxes in 1 image")


@pytest.mark.parametrize(("images", "said"), [(1, "as 1 image tells"), (2, "as 2 images tell")])
def test_the_seconds_of_actions_say_how_many_images_tell_them(images: int, said: str) -> None:
    _, line = seconds_line(Costs(), images)
    assert line.startswith("add 7.0 (7 assumed), move ")
    assert line.endswith(f", {said}")
