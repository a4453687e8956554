"""Contrast groups: images alike in contrast, and the template that each group is matched to."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from preprocessing.errors import GroupsError
from preprocessing.quantiles import QUANTILES, Levels, QuantileProfile

Mode = Literal["none", "single", "groups"]

#: The name of the one group where images are not told apart.
ALL = "all"

FORMAT = 1


@dataclass(frozen=True)
class Assignment:
    """Where an image belongs.

    Parameters
    ----------
    group
        Name of its contrast group.
    distance
        Wasserstein-2 distance between the shapes of the image's profile and of the group's
        centre, in [0, 2]; 0 where there are no groups.
    outlier
        Whether it lies farther from the centre than the images that the group was fitted on.
    """

    group: str
    distance: float
    outlier: bool


@dataclass(frozen=True, eq=False)
class ContrastGroups:
    """Contrast groups as fitted by ``preprocessing.fitting.fit_groups``.

    Parameters
    ----------
    mode
        ``none``: images are only stretched; ``single``: all are matched to one template;
        ``groups``: each to the template of its group.
    names
        G names, ordered by contrast: low, medium, high; low, high; or all.
    centres
        Shape (G, QUANTILES): the mean shape of each group's profiles.
    templates
        Shape (G, QUANTILES), never falling, in [0, 1]; G is 0 here and above for mode ``none``.
    limits
        Shape (G,): the distance from which an image is an outlier.
    """

    mode: Mode
    names: tuple[str, ...]
    centres: Levels
    templates: Levels
    limits: NDArray[np.float64]

    @classmethod
    def none(cls) -> ContrastGroups:
        """Return no groups: ``prepare`` then stretches each image by its own percentiles."""
        nothing = np.zeros((0, QUANTILES))
        return cls("none", (ALL,), nothing, nothing, np.zeros(0))

    def assign(self, profile: QuantileProfile) -> Assignment:
        """Return the group whose centre is nearest to a profile."""
        if self.mode == "none":
            return Assignment(ALL, 0.0, outlier=False)
        distances = np.sqrt(np.mean((self.centres - profile.shape) ** 2, axis=1))
        nearest = int(np.argmin(distances))
        distance = float(distances[nearest])
        return Assignment(self.names[nearest], distance, distance > self.limits[nearest])

    def template_of(self, group: str) -> Levels | None:
        """Return the template of a group, shape (QUANTILES,); None where images are stretched."""
        return None if self.mode == "none" else self.templates[self.names.index(group)]

    def save(self, path: Path) -> None:
        """Write the groups to a .npz file: plain arrays, no pickle."""
        with path.open("wb") as file:
            np.savez(
                file,
                format=np.int64(FORMAT),
                mode=np.str_(self.mode),
                names=np.array(self.names, dtype=np.str_),
                centres=self.centres,
                templates=self.templates,
                limits=self.limits,
            )

    @classmethod
    def load(cls, path: Path) -> ContrastGroups:
        """Read what :meth:`save` wrote.

        Raises
        ------
        GroupsError
            The file is missing, damaged, or of another format.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return _from_arrays(arrays)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise GroupsError(
                f"{path} holds no contrast groups ({error}): take them from the version's "
                "folder again, or fit them anew."
            ) from error


def _from_arrays(arrays: dict[str, NDArray[np.generic]]) -> ContrastGroups:
    mode = str(arrays["mode"])
    found = int(arrays["format"])
    if found != FORMAT or mode not in get_args(Mode):
        raise ValueError(f"format {found}, mode {mode!r}")
    shapes = arrays["centres"].shape, arrays["templates"].shape
    groups = 0 if mode == "none" else len(arrays["names"])
    if shapes != ((groups, QUANTILES),) * 2 or arrays["limits"].shape != (groups,):
        raise ValueError(f"shapes {shapes} for {groups} groups")
    return ContrastGroups(
        mode,  # type: ignore[arg-type]
        tuple(str(name) for name in arrays["names"]),
        arrays["centres"].astype(np.float64),
        arrays["templates"].astype(np.float64),
        arrays["limits"].astype(np.float64),
    )
