"""Fitting contrast groups to the training images: the one door to scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from preprocessing.groups import ALL, ContrastGroups, Mode
from preprocessing.quantiles import Levels, QuantileProfile

Labels = NDArray[np.int64]

#: Names by number of groups, ordered by contrast.
NAMES = {1: (ALL,), 2: ("low", "high"), 3: ("low", "medium", "high")}
MOST_GROUPS = 3

#: Fewest images of a group, and fewest as a share of all: a smaller one is an accident.
FEWEST = 3
FEWEST_SHARE = 0.05

#: Distance (see ``quantiles.distance``) below which two groups are one: no eye tells them apart.
APART = 0.02

#: An image is an outlier from this many times the distance of its group's farthest image on, and
#: never nearer than the second figure: a few like images cannot tell how images differ.
OUTLIER_FACTOR = 2.0
OUTLIER_FLOOR = 0.05

#: Grey of the median pixel, mostly the background, in every template.
MEDIAN_GREY = 0.5


def fit_groups(profiles: Sequence[QuantileProfile], mode: Mode = "groups") -> ContrastGroups:
    """Fit contrast groups and their templates to the profiles of the training images.

    Groups are found by k-means on the shapes of the profiles, which is clustering under the 1-D
    Wasserstein-2 distance. Neither gain, offset nor depth moves an image to another group. There
    are as many groups, up to three, as can have three images each; a group that comes out too
    small, or too like its neighbour in contrast, is merged with the nearer neighbour.

    The template of a group is the barycentre of its shapes. All templates have one brightness, the
    median at grey 0.5, and one reach, their farther end at black or white, so that cells of all
    groups, and of either polarity, stand on the same background.

    Parameters
    ----------
    profiles
        Of the training images alone. Constant images are left out; when none remains the groups
        are ``ContrastGroups.none()``.
    mode
        As in ``ContrastGroups``.
    """
    shapes = [profile.shape for profile in profiles if not profile.is_constant]
    if mode == "none" or not shapes:
        return ContrastGroups.none()
    return _groups_of(np.stack(shapes), mode)


def _groups_of(shapes: Levels, mode: Mode) -> ContrastGroups:
    labels = np.zeros(len(shapes), np.int64)
    if mode == "groups":
        labels = _merged(_cluster(shapes), shapes)
    order = _by_contrast(labels, shapes)
    centres = np.stack([shapes[labels == group].mean(axis=0) for group in order])
    return ContrastGroups(
        mode=mode,
        names=NAMES[len(order)],
        centres=centres,
        templates=np.stack([_template(centre) for centre in centres]),
        limits=np.maximum(OUTLIER_FACTOR * _farthest(shapes, centres), OUTLIER_FLOOR),
    )


def _cluster(shapes: Levels) -> Labels:
    from sklearn.cluster import KMeans

    # k-means warns when it is asked for more groups than there are different images.
    different = len(np.unique(shapes.round(6), axis=0))
    groups = max(1, min(MOST_GROUPS, len(shapes) // FEWEST, different))
    fitted = KMeans(groups, n_init=10, random_state=0).fit(shapes)
    return np.asarray(fitted.labels_, np.int64)


def _merged(labels: Labels, shapes: Levels) -> Labels:
    """Merge neighbours in contrast until every group is large enough and unlike the next."""
    fewest = max(FEWEST, FEWEST_SHARE * len(labels))
    order = _by_contrast(labels, shapes)
    if len(order) == 1:
        return labels
    centres = [shapes[labels == group].mean(axis=0) for group in order]
    sizes = [np.count_nonzero(labels == group) for group in order]
    steps = _rms(np.diff(centres, axis=0))
    small = [min(pair) < fewest for pair in pairwise(sizes)]
    mergeable = np.where(np.array(small) | (steps < APART), steps, np.inf)
    nearest = int(np.argmin(mergeable))
    if not np.isfinite(mergeable[nearest]):
        return labels
    joined = np.where(labels == order[nearest], order[nearest + 1], labels)
    return _merged(joined, shapes)


def _by_contrast(labels: Labels, shapes: Levels) -> Labels:
    """Return the groups that have images, the one of least contrast first."""
    groups = np.unique(labels)
    return groups[np.argsort([_rms(shapes[labels == g].mean(axis=0)) for g in groups])]


def _farthest(shapes: Levels, centres: Levels) -> Levels:
    """Return for each centre the distance of the farthest image that it is the nearest to."""
    distances = np.stack([_rms(shapes - centre) for centre in centres])
    is_nearest = np.arange(len(centres))[:, None] == np.argmin(distances, axis=0)
    return np.asarray(np.where(is_nearest, distances, 0).max(axis=1))


def _template(centre: Levels) -> Levels:
    reach = np.abs(centre).max()
    return np.asarray(MEDIAN_GREY * (1 + centre / reach))


def _rms(values: Levels) -> Levels:
    """Return the root mean square over the quantiles, the last axis."""
    return np.asarray(np.sqrt(np.mean(values**2, axis=-1)))
