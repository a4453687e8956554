"""Noise: an image with more of it than was learned from is told, at the scale of its view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.boxes import Detections
from model.classical.detector import classical_version
from model.config import DetectorConfig, TrainConfig
from model.generated.fields import MEDIUM, generate_field
from model.looking.loaded import LoadedVersion
from model.looking.noise import is_noisy
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare, rescaled


class Blind:
    classes = ("cell",)

    def detect(self, images):
        return [Detections.empty(self.classes) for _ in images]


def field(noise, side=300):
    pixels = generate_field(3, (side, side), 20, replace(MEDIUM, noise=0.0)).pixels
    levels = pixels + np.random.default_rng(0).normal(0, noise * np.ptp(pixels), pixels.shape)
    return ImageRecord(levels.astype(np.float32), "")


@pytest.mark.parametrize(("noise", "noisy"), [(0.0, False), (0.03, False), (0.1, True)])
def test_an_image_with_more_noise_than_was_learned_from_is_noisy(noise, noisy):
    assert is_noisy(prepare(field(noise), ContrastGroups.none()), 0.05) == noisy


def test_noise_that_is_gone_once_an_image_is_shrunk_does_not_count():
    seen = prepare(field(0.1), ContrastGroups.none())
    assert not is_noisy(rescaled(seen, 0.25), 0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_an_image_of_few_pixels_is_not_noisy(shape):
    image = ImageRecord(np.zeros(shape, np.uint8), "")
    assert not is_noisy(prepare(image, ContrastGroups.none()), 0.05)


@pytest.mark.parametrize(
    ("scale", "diameter", "flags"),
    [(0.0, 40.0, ("noisy",)), (0.0, None, ("size-unknown",)), (1.0, None, ())],
)
def test_only_a_version_that_knows_no_size_flags_noise_and_only_where_it_is_known(
    scale, diameter, flags
):
    """One that was taught a project's cells knows the noise; without cells nothing else is seen."""
    detector, training = DetectorConfig(scale=scale), TrainConfig(noise=0.05)
    version = replace(classical_version(), detector=detector, training=training)
    loaded = LoadedVersion(version, ContrastGroups.none(), Blind()).with_cell_diameter(diameter)
    assert loaded.find([field(0.1)])[0].flags == flags
