"""Fitting contrast groups to the training images; only this module imports scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from preprocessing.arrays import Float64, Int64
from preprocessing.background import cleaned
from preprocessing.contrast import ContrastConfig, ContrastMode
from preprocessing.errors import GroupsError
from preprocessing.groups import ALL, ContrastGroups
from preprocessing.histograms import Histogram, histogram_of
from preprocessing.images import ImageRecord
from preprocessing.matching import Template
from preprocessing.quantiles import QuantileProfile, distance
from preprocessing.sharpness import UNKNOWN, least_sharpness, sharpness_of

#: Names by number of groups, in order of contrast; four groups and more are numbered.
NAMES = {1: (ALL,), 2: ("low", "high"), 3: ("low", "medium", "high")}

#: Fewest images of a group, and their least share of all: a smaller group is an accident.
FEWEST = 3
FEWEST_SHARE = 0.05

#: Groups nearer than this (``quantiles.distance``) become one: no eye tells them apart.
APART = 0.02

#: An image is an outlier from this many times the distance of its group's farthest image on, but
#: never within the second figure: a few similar images do not show how much images differ.
OUTLIER_FACTOR = 2.0
OUTLIER_FLOOR = 0.05

#: Grey of the median pixel (mostly background) in every template made of shapes.
MEDIAN_GREY = 0.5


@dataclass(frozen=True)
class Traits:
    """All that a fit needs, and keeps, of an image."""

    profile: QuantileProfile
    sharpness: float = UNKNOWN


def traits_of(image: ImageRecord, contrast: ContrastMode | ContrastConfig = "groups") -> Traits:
    """Return the traits that ``prepare`` will see in an image under the same configuration."""
    pixels = cleaned(image.pixels, ContrastConfig.of(contrast))
    return Traits(QuantileProfile.of(histogram_of(pixels)), sharpness_of(image.pixels))


def fit_images(
    images: Iterable[ImageRecord],
    contrast: ContrastMode | ContrastConfig = "groups",
) -> ContrastGroups:
    """Fit contrast groups to images; each is read once and not kept. See :func:`fit_groups`.

    Parameters
    ----------
    images
        Training images only.
    """
    return fit_groups([traits_of(image, contrast) for image in images], contrast)


def fit_groups(
    images: Sequence[Traits],
    contrast: ContrastMode | ContrastConfig = "groups",
    named: Sequence[Histogram] = (),
) -> ContrastGroups:
    """Fit contrast groups and their templates to the traits of the training images.

    k-means on the shapes of the profiles finds the groups: it clusters under the 1-D Wasserstein-2
    distance. Neither gain, offset nor depth moves an image to another group. There are up to
    ``config.groups`` groups, as many as can have three images each. A group that is too small, or
    too similar in contrast to its neighbour, is merged with the nearer neighbour.

    The template of a group is the barycentre of its shapes, or the shape of its medoid. Both are
    shifted to put the median at grey 0.5 and scaled to put the farther end at black or white. So
    cells of all groups, dark or bright, stand on the same background. With named images, each group
    takes the one nearest to its centre, unchanged.

    Parameters
    ----------
    images
        Traits of training images only. Constant images are left out; if none remains, images are
        only stretched. An image of unknown sharpness does not count for the focus.
    named
        Histograms of the images that are templates, for ``template="image"``.

    Raises
    ------
    GroupsError
        ``template="image"`` without an image that has more than one grey level.
    """
    config = ContrastConfig.of(contrast)
    named = [histogram for histogram in named if not histogram.is_constant]
    if config.template == "image" and config.mode != "none" and not named:
        raise GroupsError("Name an image whose histogram is the template: not of a single grey.")
    sharp = least_sharpness([one.sharpness for one in images])
    shapes = [one.profile.shape for one in images if not one.profile.is_constant]
    if config.mode == "none" or not shapes:
        return ContrastGroups.none(sharp)
    return _groups_of(np.stack(shapes), config, named, sharp)


def _groups_of(
    shapes: Float64, config: ContrastConfig, named: Sequence[Histogram], sharp: float
) -> ContrastGroups:
    labels = _merged(_cluster(shapes, config.most_groups), shapes)
    members = [shapes[labels == group] for group in _by_contrast(labels, shapes)]
    centres = np.stack([shapes_of_group.mean(axis=0) for shapes_of_group in members])
    return ContrastGroups(
        config=config,
        names=names_of(len(members)),
        centres=centres,
        templates=tuple(_template(own, config, named) for own in members),
        limits=np.maximum(OUTLIER_FACTOR * _farthest(shapes, centres), OUTLIER_FLOOR),
        least_sharpness=sharp,
        members=tuple(len(own) for own in members),
    )


def names_of(groups: int) -> tuple[str, ...]:
    """Return the names of this number of groups, in order of contrast."""
    return NAMES.get(groups) or tuple(str(number) for number in range(1, groups + 1))


def _cluster(shapes: Float64, most_groups: int) -> Int64:
    # k-means warns if it is asked for more groups than there are different images.
    different = len(np.unique(shapes.round(6), axis=0))
    groups = max(1, min(most_groups, len(shapes) // FEWEST, different))
    if groups == 1:
        return np.zeros(len(shapes), np.int64)
    from sklearn.cluster import KMeans

    fitted = KMeans(groups, n_init=10, random_state=0).fit(shapes)
    return np.asarray(fitted.labels_, np.int64)


def _merged(labels: Int64, shapes: Float64) -> Int64:
    """Merge neighbours in contrast until every group is large enough and differs from the next."""
    fewest = max(FEWEST, FEWEST_SHARE * len(labels))
    order = _by_contrast(labels, shapes)
    if len(order) == 1:
        return labels
    centres = [shapes[labels == group].mean(axis=0) for group in order]
    sizes = [np.count_nonzero(labels == group) for group in order]
    steps = distance(np.stack(centres[1:]), np.stack(centres[:-1]))
    small = [min(pair) < fewest for pair in pairwise(sizes)]
    mergeable = np.where(np.array(small) | (steps < APART), steps, np.inf)
    nearest = int(np.argmin(mergeable))
    if not np.isfinite(mergeable[nearest]):
        return labels
    joined = np.where(labels == order[nearest], order[nearest + 1], labels)
    return _merged(joined, shapes)


def _by_contrast(labels: Int64, shapes: Float64) -> Int64:
    """Return the groups that have images, least contrast first."""
    groups = np.unique(labels)
    return groups[np.argsort([distance(shapes[labels == g].mean(axis=0), 0.0) for g in groups])]


def _farthest(shapes: Float64, centres: Float64) -> Float64:
    """Return, for each centre, the distance of the farthest of the images nearest to it."""
    distances = np.stack([distance(shapes, centre) for centre in centres])
    is_nearest = np.arange(len(centres))[:, None] == np.argmin(distances, axis=0)
    return np.asarray(np.where(is_nearest, distances, 0).max(axis=1))


def _template(shapes: Float64, config: ContrastConfig, named: Sequence[Histogram]) -> Template:
    """Return the template of a group with these shapes."""
    centre = shapes.mean(axis=0)
    if config.template == "image":
        away = [distance(QuantileProfile.of(histogram).shape, centre) for histogram in named]
        return Template.of(named[int(np.argmin(away))], config.rank)
    if config.template == "medoid":
        centre = shapes[int(np.argmin(distance(shapes, centre)))]
    return Template.even(MEDIAN_GREY * (1 + centre / np.abs(centre).max()))
