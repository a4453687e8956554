from __future__ import annotations

from backend.columns import aligned


def test_words_stand_at_the_left_and_figures_at_the_right() -> None:
    assert aligned([("annotator", "cells"), ("ada", "7")]) == [
        "annotator  cells",
        "ada            7",
    ]


def test_where_all_are_words_nothing_trails() -> None:
    assert aligned([("run", "what"), ("1", "")], left=2) == ["run  what", "1"]
