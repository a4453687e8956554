import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from model.generated.fields import HARD, generate_field
from model.labels.likeness import MOST_BITS, alike_to_any, fingerprint_of, group_alike
from preprocessing.images import read_image

DATA = Path(os.environ.get("CYTOLOOP_DATA", "/nonexistent"))
ROWS, COLUMNS = np.mgrid[-1:1:256j, -1:1:320j]
LIGHT = {
    "even": np.ones((256, 320)),
    "vignette": 1 - 0.4 * (ROWS**2 + COLUMNS**2),
    "ramp": 1 + 0.6 * COLUMNS,
}


@cache
def field(seed):
    return generate_field(seed, (256, 320), 30, HARD).pixels.astype(np.float32)


def bits_apart(one, other):
    return (int(fingerprint_of(one), 16) ^ int(fingerprint_of(other), 16)).bit_count()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: np.clip(0.6 * (p - p.mean()) + p.mean(), 0, 255),
        lambda p: 255 * (p / 255) ** 0.7,
        lambda p: p + np.random.default_rng(0).normal(0, 8, p.shape),
        lambda p: gaussian_filter(p, 2),
        lambda p: p[::2, ::2],
        lambda p: np.roll(p, (1, 2), (0, 1)),
        lambda p: (p * 257).astype(np.uint16),
        lambda p: p * LIGHT["vignette"],
    ],
    ids=["gain", "gamma", "noise", "blur", "half size", "shift", "16 bit", "vignette"],
)
def test_the_same_field_taken_otherwise_is_alike(change):
    apart = [bits_apart(field(seed), change(field(seed))) for seed in range(8)]
    assert np.median(apart) <= MOST_BITS / 2


@pytest.mark.integration
@pytest.mark.parametrize("light", LIGHT)
def test_other_fields_are_not_alike_however_the_light_falls(light):
    fingerprints = [fingerprint_of(field(seed) * LIGHT[light]) for seed in range(40)]
    assert group_alike(fingerprints) == list(range(40))


@pytest.mark.parametrize(
    "plain",
    [
        np.full((64, 64), 7, np.uint8),
        np.zeros((64, 64), np.uint16),
        np.random.default_rng(0).integers(0, 255, (8, 400), np.uint8),
    ],
)
def test_an_image_too_plain_or_too_small_to_tell_is_like_no_other(plain):
    assert fingerprint_of(plain) == ""
    assert group_alike(["", "", "0" * 16]) == [0, 1, 2]


def test_a_ramp_without_a_cell_is_plain():
    assert fingerprint_of(np.tile(np.arange(320, dtype=np.float32), (256, 1))) == ""


def test_an_image_joins_the_group_of_the_earliest_that_it_is_like():
    first, near, middle, far = "0" * 16, "0" * 14 + "ff", "0" * 14 + "0f", "f" * 16
    assert group_alike([first, far, near, middle, ""]) == [0, 1, 0, 0, 4]


def test_an_image_too_plain_to_tell_is_like_none_of_the_others():
    near_the_second, near_none = "f" * 14 + "00", "0" * 16
    others = ["", "f" * 16]
    assert alike_to_any([near_the_second, near_none, ""], others) == [True, False, False]
    assert alike_to_any(["0" * 16], []) == [False]


def test_a_group_grows_by_steps_as_a_film_does():
    film = [f"{2 ** (6 * step) - 1:016x}" for step in range(5)]
    assert group_alike(film) == [0, 0, 0, 0, 0]
    assert group_alike([film[0], film[4]]) == [0, 1]


@pytest.mark.parametrize(
    ("name", "pairs"),
    [("bccd", [("BloodImage_00037.jpg", "BloodImage_00038.jpg")]), ("usiigaci", [])],
)
@pytest.mark.integration
def test_of_real_images_only_the_frames_of_one_field_are_alike(name, pairs):
    if not (DATA / name).is_dir():
        pytest.skip(f"CYTOLOOP_DATA with the folder {name} is not set")
    paths = sorted((DATA / name / "images").iterdir())
    groups = group_alike([fingerprint_of(read_image(path).pixels) for path in paths])
    found = [(paths[g].name, paths[i].name) for i, g in enumerate(groups) if g != i]
    assert found == pairs
