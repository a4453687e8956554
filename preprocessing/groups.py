"""Contrast groups: images of similar contrast, and the template to which each group is matched."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Float64
from preprocessing.contrast import ContrastConfig, ContrastMode
from preprocessing.errors import GroupsError
from preprocessing.matching import Template
from preprocessing.quantiles import QUANTILES, QuantileProfile, distance

#: Name of the only group if images are not grouped.
ALL = "all"

#: The least sharpness if none is known: no image is out of focus.
ANY_SHARPNESS = float("-inf")

FORMAT = 3


@dataclass(frozen=True)
class Assignment:
    """Where an image belongs.

    Parameters
    ----------
    group
        Name of its contrast group.
    distance
        Wasserstein-2 distance between the shape of the image's profile and the group's centre, in
        [0, 2]; 0 without groups.
    outlier
        Whether it lies farther from the centre than the images that the group was fitted on.
    """

    group: str
    distance: float
    outlier: bool


@dataclass(frozen=True, eq=False)
class ContrastGroups:
    """Contrast groups as fitted by ``preprocessing.fitting``.

    Parameters
    ----------
    config
        How contrast is treated. It and the other fields decide all that ``prepare`` does.
    names
        G names in order of contrast: low, medium, high; low, high; all; or 1 to G.
    centres
        Shape (G, QUANTILES): the mean shape of each group's profiles.
    templates
        One for each group. In mode ``none`` G is 0, here and in the other fields.
    limits
        Shape (G,): the distance beyond which an image is an outlier.
    least_sharpness
        See ``sharpness.least_sharpness``; minus infinity if unknown.
    members
        The number of images that each group was fitted on.
    """

    config: ContrastConfig
    names: tuple[str, ...]
    centres: Float64
    templates: tuple[Template, ...]
    limits: Float64
    least_sharpness: float = ANY_SHARPNESS
    members: tuple[int, ...] = ()

    @classmethod
    def none(cls, least_sharpness: float = ANY_SHARPNESS) -> ContrastGroups:
        """Return mode ``none``: ``prepare`` stretches each image by its own percentiles."""
        nothing = np.zeros((0, QUANTILES))
        config = ContrastConfig(mode="none")
        return cls(config, (ALL,), nothing, (), np.zeros(0), least_sharpness)

    @property
    def mode(self) -> ContrastMode:
        return self.config.mode

    def assign(self, profile: QuantileProfile) -> Assignment:
        """Return the group whose centre is nearest to a profile."""
        if self.mode == "none":
            return Assignment(ALL, 0.0, outlier=False)
        distances = distance(self.centres, profile.shape)
        nearest = int(np.argmin(distances))
        away = float(distances[nearest])
        return Assignment(self.names[nearest], away, away > self.limits[nearest])

    def template_of(self, group: str) -> Template | None:
        """Return the template of a group; None if images are only stretched."""
        return None if self.mode == "none" else self.templates[self.names.index(group)]

    def rarity(self, group: str) -> float:
        """Return how many times rarer images of a group are than those of the mean group.

        Counted among the images fitted on, with one more in each group.
        """
        if not self.members:
            return 1.0
        mean = sum(self.members) / len(self.members)
        return (mean + 1) / (self.members[self.names.index(group)] + 1)

    @property
    def sha256(self) -> str:
        """Hex hash of all that decides what ``prepare`` does to pixels."""
        content = hashlib.sha256(json.dumps([self.config.to_json(), self.names]).encode())
        for array in (self.centres, *(a for t in self.templates for a in (t.shares, t.greys))):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()

    def save(self, path: Path) -> None:
        """Write the groups to a .npz file: plain arrays, no pickle."""
        with path.open("wb") as file:
            np.savez(
                file,
                format=np.int64(FORMAT),
                config=np.str_(json.dumps(self.config.to_json())),
                names=np.array(self.names, dtype=np.str_),
                centres=self.centres,
                template_sizes=np.array([len(t.shares) for t in self.templates], np.int64),
                template_shares=np.concatenate([[], *(t.shares for t in self.templates)]),
                template_greys=np.concatenate([[], *(t.greys for t in self.templates)]),
                limits=self.limits,
                least_sharpness=np.float64(self.least_sharpness),
                members=np.array(self.members, np.int64),
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
        # TypeError: the config is JSON, but with other fields than ours
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise GroupsError(
                f"{path} holds no contrast groups ({_why(path, error)}): take them from the "
                "version's folder again, or fit them anew."
            ) from error


def _why(path: Path, error: Exception) -> str:
    """Say why a file cannot be loaded; numpy takes a file that is no archive for a pickle."""
    if isinstance(error, OSError):
        return str(error.strerror or error)
    if not zipfile.is_zipfile(path):
        return "it is no .npz file"
    return "it was written for something else" if isinstance(error, KeyError) else str(error)


def _from_arrays(arrays: dict[str, NDArray[Any]]) -> ContrastGroups:
    if int(arrays["format"]) != FORMAT:
        raise ValueError(f"format {int(arrays['format'])}, not {FORMAT}")
    config = ContrastConfig.from_json(json.loads(str(arrays["config"])))
    names = tuple(str(name) for name in arrays["names"])
    groups = 0 if config.mode == "none" else len(names)
    centres = arrays["centres"].astype(np.float64)
    templates = _templates(arrays)
    limits = arrays["limits"].astype(np.float64)
    members = tuple(int(number) for number in arrays["members"])
    if (centres.shape, len(templates), limits.shape) != ((groups, QUANTILES), groups, (groups,)):
        raise ValueError(f"{len(templates)} templates, shape {centres.shape} for {groups} groups")
    return ContrastGroups(
        config, names, centres, templates, limits, float(arrays["least_sharpness"]), members
    )


def _templates(arrays: dict[str, NDArray[Any]]) -> tuple[Template, ...]:
    shares, greys = (arrays[f"template_{name}"].astype(np.float64) for name in ("shares", "greys"))
    if not len(shares) == len(greys) == arrays["template_sizes"].sum():
        raise ValueError("templates that are cut off")
    ends = np.cumsum(arrays["template_sizes"])[:-1]
    pairs = zip(np.split(shares, ends), np.split(greys, ends), strict=True)
    return tuple(Template(*pair) for pair in pairs if len(pair[0]))
