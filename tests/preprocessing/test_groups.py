"""Contrast groups on disk and in use."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from preprocessing.contrast import ContrastConfig
from preprocessing.errors import GroupsError
from preprocessing.fitting import Traits, fit_groups
from preprocessing.groups import ContrastGroups
from preprocessing.histograms import histogram_of
from preprocessing.quantiles import profile_of
from tests.preprocessing.conftest import fit_profiles

TEMPLATES = ("barycentre", "medoid")


@pytest.fixture(scope="module")
def profiles(discs):
    return [profile_of(discs(s, height=h)) for h in (10, 40, 140) for s in range(4)]


CONFIGS = [
    *(ContrastConfig(mode) for mode in ("none", "single", "groups", "flat")),
    ContrastConfig("groups", "medoid", groups=5, strength=0.5, gain_limit=3.0, rank="middle"),
    ContrastConfig("flat", "image"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.mode}-{config.template}")
def test_saved_groups_come_back_as_they_were(profiles, discs, tmp_path, config):
    traits = [Traits(profile, sharpness=-float(i)) for i, profile in enumerate(profiles)]
    groups = fit_groups(traits, config, named=[histogram_of(discs(9))])
    groups.save(tmp_path / "groups.npz")
    loaded = ContrastGroups.load(tmp_path / "groups.npz")
    assert (loaded.config, loaded.names) == (groups.config, groups.names)
    assert loaded.config.mode == config.mode
    assert loaded.sha256 == groups.sha256
    assert loaded.least_sharpness == groups.least_sharpness > -100
    assert loaded.members == groups.members
    assert len(loaded.templates) == len(groups.templates)
    for name in ("centres", "limits"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(groups, name))
    assert [loaded.assign(p) for p in profiles] == [groups.assign(p) for p in profiles]


def test_other_templates_and_another_treatment_have_another_hash(profiles):
    configs = [ContrastConfig(strength=s, template=t) for s in (0.5, 1) for t in TEMPLATES]
    assert len({fit_profiles(profiles, config).sha256 for config in configs}) == len(configs)


def test_without_groups_every_image_is_in_the_one_group_called_all(profiles):
    assignment = ContrastGroups.none().assign(profiles[0])
    assert (assignment.group, assignment.distance, assignment.outlier) == ("all", 0, False)


def test_a_group_of_which_few_were_fitted_is_rarer_than_the_others(profiles):
    fitted = profiles[:4] + profiles[4:8] * 3
    groups = fit_profiles(fitted, "groups")
    held = Counter(groups.assign(profile).group for profile in fitted)
    assert dict(zip(groups.names, groups.members, strict=True)) == held
    mean = 16 / len(groups.names)
    assert {n: groups.rarity(n) for n in held} == {n: (mean + 1) / (held[n] + 1) for n in held}
    assert fit_profiles(profiles, "single").rarity("all") == 1
    assert ContrastGroups.none().rarity("all") == 1


def test_a_missing_a_damaged_and_a_foreign_file_are_refused(profiles, tmp_path):
    path = tmp_path / "groups.npz"
    fit_profiles(profiles).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    np.savez(tmp_path / "foreign.npz", weights=np.zeros(3))
    np.savez(tmp_path / "newer.npz", format=99, names=["all"])
    arrays = dict(np.load(_saved(profiles, tmp_path / "whole.npz")))
    np.savez(tmp_path / "cut.npz", **arrays | {"template_greys": arrays["template_greys"][:-1]})
    np.savez(tmp_path / "short.npz", **arrays | {"limits": arrays["limits"][:-1]})
    np.savez(tmp_path / "word.npz", **arrays | {"config": '{"mode": "groups", "later": 1}'})
    for name in ("groups", "foreign", "newer", "cut", "short", "word", "missing"):
        with pytest.raises(GroupsError, match="fit them anew"):
            ContrastGroups.load(tmp_path / f"{name}.npz")


def test_a_file_with_a_pickle_in_it_is_refused(tmp_path):
    path = tmp_path / "groups.npz"
    np.savez(path, format=np.array([object()], dtype=object))
    with pytest.raises(GroupsError):
        ContrastGroups.load(path)


def _saved(profiles, path):
    fit_profiles(profiles).save(path)
    return path
