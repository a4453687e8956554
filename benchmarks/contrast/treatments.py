"""The treatments of contrast that are compared: the modes, their rivals and forms of matching."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from model.boxes import Box
from model.labels.examples import LabelledImage
from preprocessing.contrast import ContrastConfig
from preprocessing.fitting import fit_groups, fit_images, traits_of
from preprocessing.groups import Assignment, ContrastGroups
from preprocessing.prepare import prepare
from preprocessing.quantiles import QuantileProfile

#: Levels as they are, by the range of 8 bits: what a detector without preprocessing sees.
RAW = "raw"
#: A template for each third of the images by standard deviation: the thesis' sorting by hand.
TERCILES = "terciles"

TREATMENTS: dict[str, ContrastConfig] = {
    RAW: ContrastConfig(mode="none"),
    "stretch": ContrastConfig(mode="none"),
    "single": ContrastConfig(mode="single"),
    TERCILES: ContrastConfig(mode="groups"),
    "groups": ContrastConfig(mode="groups"),
    "flat": ContrastConfig(mode="flat"),
    "flat-single": ContrastConfig(mode="flat", groups=1),
    "groups-half": ContrastConfig(mode="groups", strength=0.5),
    "groups-quarter": ContrastConfig(mode="groups", strength=0.25),
    "groups-middle": ContrastConfig(mode="groups", rank="middle"),
    "groups-limited": ContrastConfig(mode="groups", gain_limit=3.0),
    "groups-middle-half": ContrastConfig(mode="groups", rank="middle", strength=0.5),
    "two-groups": ContrastConfig(mode="groups", groups=2),
    "medoid": ContrastConfig(mode="groups", template="medoid"),
    "flat-half": ContrastConfig(mode="flat", strength=0.5),
}


@dataclass(frozen=True, eq=False)
class StdTerciles(ContrastGroups):
    """Contrast groups by thirds of the standard deviation, as a hand would sort them.

    Parameters
    ----------
    std_limits
        The two standard deviations of a profile's levels between the thirds, ascending.
    """

    std_limits: tuple[float, ...] = ()

    def assign(self, profile: QuantileProfile) -> Assignment:
        place = int(np.searchsorted(self.std_limits, np.std(profile.levels)))
        return replace(super().assign(profile), group=self.names[place])


def groups_for(treatment: str, images: Sequence[LabelledImage]) -> ContrastGroups:
    """Fit the treatment's contrast groups to the training images."""
    config = TREATMENTS[treatment]
    if treatment != TERCILES:
        return fit_images((image.read() for image in images), config)
    traits = [traits_of(image.read(), config) for image in images]
    stds = np.array([np.std(one.profile.levels) for one in traits])
    limits = np.quantile(stds, [1 / 3, 2 / 3])
    thirds = np.searchsorted(limits, stds)
    parts = [
        fit_groups([one for one, t in zip(traits, thirds, strict=True) if t == third], "single")
        for third in range(3)
    ]
    return StdTerciles(
        config,
        ("low", "medium", "high"),
        np.concatenate([part.centres for part in parts]),
        tuple(part.templates[0] for part in parts),
        np.concatenate([part.limits for part in parts]),
        std_limits=tuple(limits.tolist()),
    )


@contextmanager
def as_treated(treatment: str) -> Iterator[None]:
    """Let ``prepare`` leave levels as they are while the treatment is ``raw``."""
    if treatment != RAW:
        yield
        return
    with patch("preprocessing.prepare.stretch", lambda p, _: p.astype(np.float32) / 255):
        yield


def halo(images: Sequence[LabelledImage], groups: ContrastGroups) -> float:
    """Return how much brighter the rings round true boxes become by the treatment.

    The mean level of a ring of a quarter of the box's side about each true box, less the image's
    median, in units of the image's 0.1–99.9 % range; after the treatment less before it. The
    thesis' one template drew such bright rings, its "aureolas" (Tare 2020, §5.3).
    """
    none = ContrastGroups.none()
    differences = []
    for image in images:
        raw = image.read()
        before, after = (prepare(raw, g).pixels for g in (none, groups))
        differences += [_ring(after, box) - _ring(before, box) for box in image.boxes]
    return float(np.mean(differences))


def _ring(pixels: NDArray[np.float32], box: Box) -> float:
    wide = (box.width + box.height) / 8
    outer = _window(pixels, box, wide)
    inner = _window(pixels, box, 0.0)
    area = outer.size - inner.size
    level = (outer.sum() - inner.sum()) / area if area else 0.0
    return float(level - np.median(pixels))


def _window(pixels: NDArray[np.float32], box: Box, wide: float) -> NDArray[np.float32]:
    top, left = (max(0, round(edge - wide)) for edge in (box.ymin, box.xmin))
    return pixels[top : round(box.ymax + wide), left : round(box.xmax + wide)]
