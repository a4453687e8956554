from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.starter import shipping
from benchmarks.starter.examples import DETECTOR, SHARES, TRAINING
from benchmarks.starter.recipe import FILE, Recipe


def test_where_no_starter_is_shipped_none_is_exported_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipping, "is_shipped", lambda: False)
    monkeypatch.setattr("sys.argv", ["shipping"])
    with pytest.raises(SystemExit):
        shipping.main()
    assert "is shipped yet: name the folder of its training" in capsys.readouterr().err


def recipe(iterations: int, before: Recipe | None = None) -> Recipe:
    training = replace(TRAINING, iterations=iterations).to_json()
    return Recipe(["bccd"], DETECTOR.to_json(), training, SHARES, 1200, "0f", before)


def test_a_recipe_is_read_as_it_was_written_with_the_one_it_went_on_from(tmp_path: Path) -> None:
    made = recipe(2000, before=recipe(900))
    made.write(tmp_path)
    read = Recipe.read(tmp_path)
    assert read is not None
    assert (read.text, read.steps) == (made.text, 2900)
    assert read.in_words() == "900 steps of 8 windows, then 2000 steps of 8 windows"


def test_a_recipe_of_an_earlier_form_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('[["bccd"], {}, {}, {}, 1200, "0f"]')
    assert Recipe.read(tmp_path) is None


def test_what_a_starter_is_shipped_with_says_where_it_began() -> None:
    made = recipe(2000, before=recipe(900))
    said = shipping.recipe_in_words(made, None)
    assert "from the ImageNet weights, halved: 900 steps of 8 windows, then 2000 steps" in said
    assert "from starter-4: 900 steps" in shipping.recipe_in_words(made, "starter-4")


def test_a_folder_without_a_training_that_ended_is_not_shipped(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no training"):
        shipping.recipe_of(tmp_path)
