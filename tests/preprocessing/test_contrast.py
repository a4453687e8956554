"""The choices about contrast: a mode's name is enough, and what cannot be is refused."""

from __future__ import annotations

import pytest

from preprocessing.contrast import ContrastConfig


def test_the_name_of_a_mode_is_enough():
    assert ContrastConfig.of("flat") == ContrastConfig(mode="flat")
    assert ContrastConfig.of(ContrastConfig(strength=0.5)).strength == 0.5


def test_it_comes_back_from_json_and_a_newer_versions_words_are_refused():
    config = ContrastConfig("single", "medoid", 2, 0.5, 3.0, "middle")
    assert ContrastConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="no later"):
        ContrastConfig.from_json(config.to_json() | {"later": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "best"},
        {"template": "mean"},
        {"rank": "lower"},
        {"groups": 0},
        {"groups": 10},
        {"strength": 1.1},
        {"strength": float("nan")},
        {"gain_limit": 0.0},
        {"gain_limit": float("nan")},
    ],
)
def test_what_cannot_be_is_refused_by_its_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ContrastConfig(**wrong)


def test_only_flat_evens_the_background_and_only_it_and_groups_tell_images_apart():
    of = ContrastConfig.of
    assert [of(m).evens_background for m in ("none", "single", "groups", "flat")] == [0, 0, 0, 1]
    assert [of(m).most_groups for m in ("none", "single", "groups", "flat")] == [0, 1, 3, 3]
