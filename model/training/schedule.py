"""How long a training is to last, and how fast it learns meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.config import TrainConfig

#: Steps that a schedule still has when it is cut, as a share of the whole.
_COOL_DOWN = 1 / 8
#: How many times as many steps a training from nothing takes, and how many at the most.
_FROM_NOTHING, _MOST_FROM_NOTHING = 3, 4000


def iterations_for(images: int, cells: int, *, begun: bool) -> int:
    """Return how many steps pay for this many training images with so many cells in all.

    A dense image teaches more than a sparse one: four steps for three cells, nine an image at the
    least (docs/accuracy.md). That is about 1 minute of a core for 4 images of 13 blood cells, 4 for
    10 images of 55 cells, 11 for 1,400 cells and more.

    Parameters
    ----------
    begun
        Whether it goes on from weights that know cells; from nothing it takes longer.
    """
    steps = min(120 + max(9 * images, 4 * cells // 3), 2000)
    return steps if begun else min(_FROM_NOTHING * steps, _MOST_FROM_NOTHING)


def warmup(config: TrainConfig) -> int:
    """Return for how many steps the learning rate rises."""
    return min(config.warmup, config.iterations // 4)


def share_of_rate(iteration: int, config: TrainConfig) -> float:
    """Return the share, in (0, 1], of the highest rate: linear warm-up, then half a cosine."""
    slow = warmup(config)
    if iteration < slow:
        return (iteration + 1) / (slow + 1)
    done = (iteration - slow) / max(1, config.iterations - slow)
    return 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Schedule:
    """The steps of a training, which may be cut short: the rate then falls to nothing sooner.

    A detector gains much in its last, small steps, which one that was merely stopped would lack.

    Parameters
    ----------
    cut
        The iteration from which it was cut; None: it runs to its end.
    """

    config: TrainConfig
    cut: int | None = None

    @property
    def end(self) -> int:
        """How many iterations there are."""
        whole = self.config.iterations
        return whole if self.cut is None else min(whole, self.cut + math.ceil(whole * _COOL_DOWN))

    def rate(self, iteration: int) -> float:
        """Return the learning rate at an iteration."""
        full = self.config.learning_rate
        if self.cut is None:
            return full * share_of_rate(iteration, self.config)
        left = (self.end - iteration) / (self.end - self.cut)
        return full * share_of_rate(self.cut, self.config) * left

    def shortened(self, iteration: int) -> Schedule:
        """Return it cut at an iteration, or as it is where it was cut before or none is saved."""
        shorter = Schedule(self.config, iteration)
        return shorter if self.cut is None and shorter.end < self.end else self
