from __future__ import annotations

import pytest

from model.wording import Naming, counted, first_of, limits_in_words, shortened


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [
        (0, "image", "0 images"),
        (1, "held-out image", "1 held-out image"),
        (2, "cell", "2 cells"),
        (1, "box", "1 box"),
        (3, "box", "3 boxes"),
    ],
)
def test_one_thing_is_told_as_one(number: int, what: str, said: str) -> None:
    assert counted(number, what) == said


def test_of_many_lines_the_first_are_told_and_how_many_more_there_are():
    lines = ["a", "b", "c"]
    assert first_of(lines, 3) == lines
    assert first_of(lines, 1) == ["a", "and 2 more"]


def test_of_many_names_the_first_are_told_and_all_are_known():
    named = Naming.of(["a", "b", "c"], before="odd: ", after=" (look)", most=2)
    assert named == "odd: a, b, c (look)"
    assert first_of([named]) == ["odd: a, b and 1 more (look)"]
    assert shortened(["a", "b"]) == "a, b"


def test_only_where_boxes_are_lost_is_an_image_to_be_cut():
    assert "cut the image" not in limits_in_words(("rpn_pre_nms", "rpn_post_nms"))[0]
    assert "cut the image into smaller ones" in limits_in_words(("detections_per_image",))[0]


def test_limits_that_mean_the_same_are_told_once():
    assert limits_in_words(()) == ()
    (told,) = limits_in_words(("rpn_pre_nms", "rpn_post_nms"))
    assert "more places look like cells than are looked at, so a few cells may be missing" in told
    assert len(limits_in_words(("rpn_post_nms", "detections_per_image"))) == 2
