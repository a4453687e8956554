"""Contrast groups on disk and in use."""

from __future__ import annotations

import numpy as np
import pytest

from preprocessing.errors import GroupsError
from preprocessing.fitting import fit_groups
from preprocessing.groups import ContrastGroups
from preprocessing.quantiles import profile_of


@pytest.fixture
def profiles(discs):
    return [profile_of(discs(s, height=h)) for h in (10, 40, 140) for s in range(4)]


@pytest.mark.parametrize("mode", ["none", "single", "groups"])
def test_saved_groups_come_back_as_they_were(profiles, tmp_path, mode):
    groups = fit_groups(profiles, mode)
    groups.save(tmp_path / "groups.npz")
    loaded = ContrastGroups.load(tmp_path / "groups.npz")
    assert (loaded.mode, loaded.names) == (groups.mode, groups.names)
    for name in ("centres", "templates", "limits"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(groups, name))
    assert [loaded.assign(p) for p in profiles] == [groups.assign(p) for p in profiles]


def test_without_groups_every_image_is_in_the_one_group_called_all(profiles):
    assignment = ContrastGroups.none().assign(profiles[0])
    assert (assignment.group, assignment.distance, assignment.outlier) == ("all", 0, False)


def test_a_missing_a_damaged_and_a_foreign_file_are_refused(profiles, tmp_path):
    path = tmp_path / "groups.npz"
    fit_groups(profiles).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    np.savez(tmp_path / "foreign.npz", weights=np.zeros(3))
    np.savez(tmp_path / "newer.npz", format=99, mode="groups", names=["all"])
    for name in ("groups.npz", "foreign.npz", "newer.npz", "missing.npz"):
        with pytest.raises(GroupsError, match="fit them anew"):
            ContrastGroups.load(tmp_path / name)


def test_a_file_with_a_pickle_in_it_is_refused(tmp_path):
    path = tmp_path / "groups.npz"
    np.savez(path, format=np.array([object()], dtype=object))
    with pytest.raises(GroupsError):
        ContrastGroups.load(path)
