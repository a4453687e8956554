"""What a gate decides by: what two versions found in the same images, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.judging.pairing import Pairs
from model.judging.resampling import count_error, draw_weights, interval, resampled_mean_ap
from model.reports import EvaluationReport, Interval
from preprocessing.arrays import Float64, Int64

#: Share of the resamples that must show a gain, or a loss. One-sided, since only what is better
#: takes the champion's place.
SURE = 0.95
#: Differences below this come from rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one version found in the images that judge.

    Parameters
    ----------
    report
        The figures that are read off the pairs.
    by_class
        The boxes of each class that has cells, paired with them.
    version
        Id of the version.
    """

    report: EvaluationReport
    by_class: tuple[Pairs, ...]
    version: str = ""

    @property
    def counts(self) -> tuple[Int64, Int64]:
        """Number of cells of each image, predicted at the version's own threshold and true."""
        predicted, true = np.array(self.report.counts, np.int64).T
        return predicted, true


@dataclass(frozen=True, eq=False)
class Gain:
    """How far a candidate is above the champion in one figure.

    Parameters
    ----------
    ours, theirs
        The figure on all the images.
    resampled
        Shape (R,): how far the candidate is ahead in each resample of the images, the same ones for
        both; positive where it is better.
    """

    ours: float
    theirs: float
    resampled: Float64

    @property
    def interval(self) -> Interval:
        """The middle of the resamples: either bound holds in a share of ``SURE`` of them."""
        found = interval(self.resampled, 2 * SURE - 1)
        assert found is not None  # a gain is made of resamples that have a figure
        return found

    @property
    def is_better(self) -> bool:
        """Whether it is ahead beyond noise."""
        return self.interval.low > _ROUNDING

    @property
    def is_worse(self) -> bool:
        """Whether it is behind beyond noise."""
        return self.interval.high < -_ROUNDING

    @property
    def is_none(self) -> bool:
        """Whether both are the same in every resample."""
        return not (np.abs(self.resampled) > _ROUNDING).any()

    def probability_behind(self, margin: float) -> float:
        """Return the share of the resamples in which it is behind by more than ``margin``."""
        return float(np.mean(self.resampled < -margin - _ROUNDING))


@dataclass(frozen=True, eq=False)
class Comparison:
    """A candidate beside the champion, in the same images.

    Parameters
    ----------
    resamples
        How many of the images: the same for both and for each figure (paired bootstrap).
    """

    candidate: Evidence
    champion: Evidence
    resamples: int

    def ap50(self, images: Sequence[int] | None = None) -> Gain | None:
        """Return the gain in AP50, the mean over the classes; None where there is no cell.

        Parameters
        ----------
        images
            Rows of the images to judge on; all when None.
        """
        weights, whole = self._weights(images)
        ours, theirs = (
            [_among(pairs, images) for pairs in evidence.by_class]
            for evidence in (self.candidate, self.champion)
        )
        if not any(pairs.cells.any() for pairs in ours):
            return None
        resampled = resampled_mean_ap(ours, weights) - resampled_mean_ap(theirs, weights)
        now = [float(resampled_mean_ap(each, whole)[0]) for each in (ours, theirs)]
        return Gain(now[0], now[1], resampled[~np.isnan(resampled)])

    def count(self, images: Sequence[int] | None = None) -> Gain:
        """Return how much smaller the candidate's count error is; see :meth:`ap50`."""
        weights, whole = self._weights(images)
        rows = slice(None) if images is None else np.array(images)

        def error_of(evidence: Evidence, drawn: Float64) -> Float64:
            predicted, true = evidence.counts
            return count_error(predicted[rows], true[rows], drawn)

        resampled = error_of(self.champion, weights) - error_of(self.candidate, weights)
        now = [float(error_of(each, whole)[0]) for each in (self.candidate, self.champion)]
        return Gain(now[0], now[1], resampled)

    def _weights(self, images: Sequence[int] | None) -> tuple[Float64, Float64]:
        """Return the weights of the resamples and those of the images as they are."""
        number = len(self.candidate.report.images if images is None else images)
        return draw_weights(number, self.resamples), np.ones((1, number))


def _among(pairs: Pairs, images: Sequence[int] | None) -> Pairs:
    return pairs if images is None else pairs.among(images)
