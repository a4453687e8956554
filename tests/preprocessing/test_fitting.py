"""Fitting: groups by contrast, found without hands, and a right answer for every odd set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preprocessing.contrast import ContrastConfig
from preprocessing.errors import GroupsError
from preprocessing.fitting import FEWEST, OUTLIER_FLOOR, fit_images, names_of
from preprocessing.histograms import histogram_of
from preprocessing.images import ImageRecord
from preprocessing.matching import Template
from preprocessing.prepare import prepare
from preprocessing.quantiles import QUANTILES, QuantileProfile, profile_of
from tests.preprocessing.conftest import fit_profiles

#: Height of the discs above the ground, in 8-bit levels, by how a person would call them.
CONTRASTS = {"low": 12, "medium": 40, "high": 140}


@pytest.fixture(scope="module")
def fields(discs):
    """Return profiles of six fields of each contrast, by its name."""
    return {
        name: [profile_of(discs(seed, cells=25, height=height, noise=5)) for seed in range(6)]
        for name, height in CONTRASTS.items()
    }


def greys_of(groups):
    return np.stack([template.greys for template in groups.templates])


def test_three_contrasts_are_found_and_named_in_their_order(fields):
    groups = fit_profiles([p for profiles in fields.values() for p in profiles])
    assert groups.names == ("low", "medium", "high")
    for name, profiles in fields.items():
        assert [groups.assign(p).group for p in profiles] == [name] * len(profiles)


def test_the_order_of_the_images_does_not_matter(fields):
    profiles = [p for group in fields.values() for p in group]
    first, second = fit_profiles(profiles), fit_profiles(profiles[::-1])
    assert first.names == second.names
    np.testing.assert_allclose(greys_of(first), greys_of(second))


def test_gain_offset_and_depth_do_not_move_an_image_to_another_group(discs, fields):
    groups = fit_profiles([p for profiles in fields.values() for p in profiles])
    for name, height in CONTRASTS.items():
        pixels = discs(99, cells=25, height=height, noise=5)
        for moved in (pixels * np.uint16(16), pixels.astype(np.float32) * 0.01 - 3):
            assert groups.assign(profile_of(moved)).group == name


def test_every_template_has_one_brightness_and_one_reach(fields):
    bright = [p for profiles in fields.values() for p in profiles]
    dark = [QuantileProfile(255 - p.levels[::-1]) for p in fields["high"]]
    groups = fit_profiles([*bright, *dark])
    assert len(groups.names) > 1
    greys = greys_of(groups)
    np.testing.assert_allclose(greys[:, QUANTILES // 2], 0.5)
    assert (np.diff(greys, axis=1) >= 0).all()
    np.testing.assert_allclose(np.maximum(1 - greys[:, 0], greys[:, -1]), 1)


def test_an_image_unlike_all_is_an_outlier_and_one_like_them_is_not(discs, fields):
    groups = fit_profiles([p for profiles in fields.values() for p in profiles])
    alike = discs(77, cells=25, height=CONTRASTS["high"], noise=5)
    dark = 255 - discs(77, cells=60, height=170, noise=2)
    assert not groups.assign(profile_of(alike)).outlier
    assert groups.assign(profile_of(dark)).outlier


def test_an_outlier_is_twice_as_far_as_the_farthest_of_its_group_and_never_quite_near(discs):
    profiles = [
        profile_of(discs(seed, cells=cells, height=height, noise=5))
        for height in (12, 140)
        for seed, cells in enumerate((20, 25, 30, 35))
    ]
    groups = fit_profiles(profiles)
    away = {name: [0.0] for name in groups.names}
    for assigned in map(groups.assign, profiles):
        away[assigned.group].append(assigned.distance)
    farthest = {name: 2 * max(each) for name, each in away.items()}
    assert farthest["low"] < OUTLIER_FLOOR < farthest["high"]
    assert groups.limits == pytest.approx([OUTLIER_FLOOR, farthest["high"]])


def test_mode_single_has_one_template_for_all(fields):
    groups = fit_profiles([p for profiles in fields.values() for p in profiles], "single")
    assert (groups.mode, groups.names) == ("single", ("all",))
    assert greys_of(groups).shape == (1, QUANTILES)


def test_mode_none_has_no_template(fields):
    groups = fit_profiles(fields["low"], "none")
    assert groups.mode == "none"
    assert groups.template_of("all") is None


@pytest.mark.parametrize(
    ("images", "names"),
    [(1, ("all",)), (5, ("all",)), (6, ("low", "high"))],
)
def test_few_images_make_few_groups(fields, images, names):
    mixed = [fields[name][i] for i in range(3) for name in ("low", "high")]
    assert fit_profiles(mixed[:images]).names == names


def test_images_all_alike_make_one_group(discs):
    one = profile_of(discs())
    groups = fit_profiles([one] * 20)
    assert groups.names == ("all",)
    assert groups.limits[0] == OUTLIER_FLOOR
    assert not groups.assign(one).outlier


def test_a_group_too_small_joins_its_neighbour(fields):
    profiles = [*fields["low"], *fields["medium"], *fields["high"][: FEWEST - 1]]
    groups = fit_profiles(profiles)
    assert groups.names == ("low", "high")
    assert {groups.assign(p).group for p in fields["low"]} == {"low"}
    assert {groups.assign(p).group for p in fields["high"]} == {"high"}


@pytest.mark.parametrize(("height", "members"), [(40, (8, 6)), (90, (6, 8))])
def test_of_two_neighbours_a_group_too_small_joins_the_nearer(discs, fields, height, members):
    few = [profile_of(discs(s, cells=25, height=height, noise=5)) for s in range(FEWEST - 1)]
    groups = fit_profiles([*fields["low"], *few, *fields["high"]])
    assert (groups.names, groups.members) == (("low", "high"), members)


def test_constant_images_are_left_out_and_alone_make_no_groups(discs, fields):
    constant = profile_of(np.full((8, 8), 30, np.uint8))
    with_it = fit_profiles([*fields["low"], constant])
    assert with_it.sha256 == fit_profiles(fields["low"]).sha256
    assert fit_profiles([constant] * 4).mode == "none"
    assert fit_profiles([]).mode == "none"


@settings(deadline=None, max_examples=40)
@given(st.lists(arrays(np.uint8, (3, 4)), min_size=1, max_size=14))
def test_any_set_of_images_gives_groups_that_take_each_of_them(images):
    profiles = [profile_of(pixels) for pixels in images]
    groups = fit_profiles(profiles)
    assert 1 <= len(groups.names) <= 3
    for profile in profiles:
        assignment = groups.assign(profile)
        assert assignment.group in groups.names
        assert profile.is_constant or not assignment.outlier


def test_the_medoid_template_is_the_shape_of_one_image(fields):
    profiles = fields["medium"]
    (template,) = fit_profiles(profiles, ContrastConfig("single", "medoid")).templates
    shapes = [p.shape / np.abs(p.shape).max() for p in profiles]
    assert min(np.abs(2 * template.greys - 1 - shape).max() for shape in shapes) < 1e-9


def test_each_group_takes_the_named_image_nearest_to_it(discs, fields):
    named = [histogram_of(discs(40, cells=25, height=h, noise=5)) for h in (140, 12)]
    everything = [p for profiles in fields.values() for p in profiles]
    groups = fit_profiles(everything, ContrastConfig("groups", "image"), named)
    greys = {name: groups.template_of(name).greys for name in groups.names}
    np.testing.assert_array_equal(greys["high"], Template.of(named[0]).greys)
    np.testing.assert_array_equal(greys["low"], Template.of(named[1]).greys)


@pytest.mark.parametrize("named", [[], [np.zeros((4, 4), np.uint8)]])
def test_an_image_template_without_an_image_is_refused(fields, named):
    with pytest.raises(GroupsError, match="Name an image"):
        fit_profiles(
            fields["low"], ContrastConfig(template="image"), [histogram_of(p) for p in named]
        )


def test_as_many_groups_as_asked_for_are_made_and_four_are_numbered(discs):
    heights = (4, 15, 40, 140)
    profiles = [
        profile_of(discs(seed, cells=25, height=height, noise=5))
        for height in heights
        for seed in range(6)
    ]
    assert fit_profiles(profiles, ContrastConfig(groups=2)).names == ("low", "high")
    assert names_of(4) == ("1", "2", "3", "4")
    assert len(fit_profiles(profiles, ContrastConfig(groups=4)).names) in (3, 4)


@pytest.mark.parametrize("mode", ["none", "single", "groups", "flat"])
def test_fitting_to_images_sees_them_as_preparing_does(discs, mode):
    images = [
        ImageRecord(discs(s, cells=25, height=h, noise=5), "") for h in (12, 140) for s in range(4)
    ]
    groups = fit_images((image for image in images), mode)
    assert groups.mode == mode
    prepared = [prepare(image, groups) for image in images]
    assert not any(p.flags for p in prepared)
    if mode == "flat":
        assert {p.group for p in prepared[:4]} != {p.group for p in prepared[4:]}
