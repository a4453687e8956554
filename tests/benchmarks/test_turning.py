from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.real_images import RealImages
from benchmarks.turning import choosing_and_judging
from model.labels.examples import LabelledImage
from model.versions import ModelVersion


def images(*names: str) -> tuple[LabelledImage, ...]:
    return tuple(LabelledImage(Path(name), name, ()) for name in names)


DATA = RealImages("fields", images(*"abcdefgh"), images(*"xyz"), ("Cell",))
STARTER = ModelVersion("starter-without", "starter", (), 0.5)
TRAINED = ModelVersion("trained-1", "trained", ("Cell",), 0.5, lineage=tuple("abcf"))


@pytest.mark.parametrize(
    ("number", "chosen", "judging"), [(3, "abc", "def"), (4, "abcd", "efgh"), (24, "abcd", "efgh")]
)
def test_no_teaching_image_chooses_the_threshold_and_judges(
    number: int, chosen: str, judging: str
) -> None:
    both = choosing_and_judging(STARTER, DATA, number, teaching=True)
    assert both == (images(*chosen), images(*judging))


def test_of_teaching_images_those_alone_judge_that_a_version_has_not_seen() -> None:
    assert choosing_and_judging(TRAINED, DATA, 24, teaching=True) == ((), images(*"degh"))
    seen_all = replace(TRAINED, lineage=tuple("abcdefgh"))
    assert choosing_and_judging(seen_all, DATA, 24, teaching=True) == ((), ())


def test_the_test_side_judges_and_the_teaching_side_chooses_for_starters_alone() -> None:
    assert choosing_and_judging(STARTER, DATA, 2, teaching=False) == (images(*"ab"), images(*"xy"))
    assert choosing_and_judging(TRAINED, DATA, 2, teaching=False) == ((), images(*"xy"))
