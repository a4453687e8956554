"""The contrast that a version was trained with is written down with it."""

from __future__ import annotations

import json

import pytest

from model.config import TrainConfig
from preprocessing.contrast import ContrastConfig


@pytest.mark.parametrize(
    "contrast",
    [ContrastConfig("flat"), ContrastConfig("groups", "medoid", strength=0.5, gain_limit=4.0)],
)
def test_every_choice_comes_back_from_json(contrast):
    training = TrainConfig(contrast=contrast)
    assert TrainConfig.from_json(json.loads(json.dumps(training.to_json()))) == training
