"""Fitting: groups by contrast, found without hands, and a right answer for every odd set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preprocessing.fitting import FEWEST, OUTLIER_FLOOR, fit_groups
from preprocessing.quantiles import QUANTILES, QuantileProfile, profile_of

#: Height of the discs above the ground, in 8-bit levels, by how a person would call them.
CONTRASTS = {"low": 12, "medium": 40, "high": 140}


@pytest.fixture
def fields(discs):
    """Return profiles of six fields of each contrast, by its name."""
    return {
        name: [profile_of(discs(seed, cells=25, height=height, noise=5)) for seed in range(6)]
        for name, height in CONTRASTS.items()
    }


def test_three_contrasts_are_found_and_named_in_their_order(fields):
    groups = fit_groups([p for profiles in fields.values() for p in profiles])
    assert groups.names == ("low", "medium", "high")
    for name, profiles in fields.items():
        assert [groups.assign(p).group for p in profiles] == [name] * len(profiles)


def test_the_order_of_the_images_does_not_matter(fields):
    profiles = [p for group in fields.values() for p in group]
    first, second = fit_groups(profiles), fit_groups(profiles[::-1])
    assert first.names == second.names
    np.testing.assert_allclose(first.templates, second.templates)


def test_gain_offset_and_depth_do_not_move_an_image_to_another_group(discs, fields):
    groups = fit_groups([p for profiles in fields.values() for p in profiles])
    for name, height in CONTRASTS.items():
        pixels = discs(99, cells=25, height=height, noise=5)
        for moved in (pixels * np.uint16(16), pixels.astype(np.float32) * 0.01 - 3):
            assert groups.assign(profile_of(moved)).group == name


def test_every_template_has_one_brightness_and_one_reach(fields):
    bright = [p for profiles in fields.values() for p in profiles]
    dark = [QuantileProfile(255 - p.levels[::-1]) for p in fields["high"]]
    groups = fit_groups([*bright, *dark])
    assert len(groups.names) > 1
    np.testing.assert_allclose(groups.templates[:, QUANTILES // 2], 0.5)
    assert (np.diff(groups.templates, axis=1) >= 0).all()
    reach = np.maximum(1 - groups.templates[:, 0], groups.templates[:, -1])
    np.testing.assert_allclose(reach, 1)


def test_an_image_unlike_all_is_an_outlier_and_one_like_them_is_not(discs, fields):
    groups = fit_groups([p for profiles in fields.values() for p in profiles])
    alike = discs(77, cells=25, height=CONTRASTS["high"], noise=5)
    dark = 255 - discs(77, cells=60, height=170, noise=2)
    assert not groups.assign(profile_of(alike)).outlier
    assert groups.assign(profile_of(dark)).outlier


def test_mode_single_has_one_template_for_all(fields):
    groups = fit_groups([p for profiles in fields.values() for p in profiles], mode="single")
    assert (groups.mode, groups.names) == ("single", ("all",))
    assert groups.templates.shape == (1, QUANTILES)


def test_mode_none_has_no_template(fields):
    groups = fit_groups(fields["low"], mode="none")
    assert groups.mode == "none"
    assert groups.template_of("all") is None


@pytest.mark.parametrize(
    ("images", "names"),
    [(1, ("all",)), (5, ("all",)), (6, ("low", "high"))],
)
def test_few_images_make_few_groups(fields, images, names):
    mixed = [fields[name][i] for i in range(3) for name in ("low", "high")]
    assert fit_groups(mixed[:images]).names == names


def test_images_all_alike_make_one_group(discs):
    one = profile_of(discs())
    groups = fit_groups([one] * 20)
    assert groups.names == ("all",)
    assert groups.limits[0] == OUTLIER_FLOOR
    assert not groups.assign(one).outlier


def test_a_group_too_small_joins_its_neighbour(fields):
    profiles = [*fields["low"], *fields["medium"], *fields["high"][: FEWEST - 1]]
    groups = fit_groups(profiles)
    assert groups.names == ("low", "high")
    assert {groups.assign(p).group for p in fields["low"]} == {"low"}
    assert {groups.assign(p).group for p in fields["high"]} == {"high"}


def test_constant_images_are_left_out_and_alone_make_no_groups(discs, fields):
    constant = profile_of(np.full((8, 8), 30, np.uint8))
    with_it = fit_groups([*fields["low"], constant])
    np.testing.assert_array_equal(with_it.templates, fit_groups(fields["low"]).templates)
    assert fit_groups([constant] * 4).mode == "none"
    assert fit_groups([]).mode == "none"


@settings(deadline=None, max_examples=40)
@given(st.lists(arrays(np.uint8, (3, 4)), min_size=1, max_size=14))
def test_any_set_of_images_gives_groups_that_take_each_of_them(images):
    profiles = [profile_of(pixels) for pixels in images]
    groups = fit_groups(profiles)
    assert 1 <= len(groups.names) <= 3
    for profile in profiles:
        assignment = groups.assign(profile)
        assert assignment.group in groups.names
        assert profile.is_constant or not assignment.outlier
