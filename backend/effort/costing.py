"""How long each action takes a project's annotators: assumed seconds, moved by measured ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields, replace

import numpy as np

from backend.actions import KINDS, Actions, Costs
from backend.effort.tally import made_by_people
from backend.store.corrections import Correction
from preprocessing.arrays import Float64

#: How firmly an action is held at its assumed seconds, in images that contain only that action.
FIRMNESS = 2.0
#: No action counts as more than this many times faster or slower than assumed.
FARTHEST = 4.0
#: An image contains a break if it took more than this many times what its actions take in its
#: project; but never if it took less than a minute.
BREAK, SHORTEST_BREAK_S = 4.0, 60.0
#: The time of a right box comes from this many images: a hundred boxes or more, recently served.
NEWEST_IMAGES = 10
#: An image counts less (Huber 1964) if its time is farther from the others', in their spreads, than
#: this: somebody was called away.
_ODD = 1.345
_ROUNDS = 20

#: The field of ``Costs`` for each kind of action.
_FIELDS = {
    "kept": "keep_s",
    "moved": "move_s",
    "relabelled": "relabel_s",
    "deleted": "delete_s",
    "added": "add_s",
}


def measured_costs(corrections: Iterable[Correction]) -> Costs:
    """Fit the seconds of each action to the images whose time is known.

    Each image's seconds are modelled as the sum of its actions' costs and one for the image.
    ``FIRMNESS`` holds every cost near its assumed value, so that few images move it little.
    """
    assumed = Costs()
    timed = [c for c in made_by_people(tuple(corrections)) if c.seconds]
    if not timed:
        return assumed
    parts = np.array([_parts(correction, assumed) for correction in timed])
    expected = parts.sum(axis=1)
    took = np.array([correction.seconds for correction in timed]) / expected
    took = took.clip(max=BREAK * FARTHEST)
    factors = _fitted(parts / expected[:, None], took).clip(1 / FARTHEST, FARTHEST)
    names = [*(_FIELDS[kind] for kind in KINDS), "image_s"]
    found = {n: getattr(assumed, n) * f for n, f in zip(names, factors.tolist(), strict=True)}
    return Costs(**{field.name: found[field.name] for field in fields(Costs)})


def without_breaks(corrections: Iterable[Correction]) -> tuple[Correction, ...]:
    """Cap times far beyond the project's own pace: the page was left open.

    Label Studio's clock goes on meanwhile.
    """
    made = tuple(corrections)
    costs = measured_costs(made)
    longest = (max(BREAK * costs.seconds(c.actions), SHORTEST_BREAK_S) for c in made)
    return tuple(replace(c, longest_s=each) for c, each in zip(made, longest, strict=True))


def recent_seconds_of_right(corrections: Iterable[Correction], costs: Costs) -> float:
    """Return the mean seconds spent on a served box that is on a cell; a glance if none was.

    Only the newest images count: boxes of earlier versions are looser than those to come.

    Parameters
    ----------
    corrections
        In the order in which they were made.
    """
    served = [c for c in made_by_people(tuple(corrections)) if c.start == "prediction"]
    work = served[-NEWEST_IMAGES:]
    done = sum((c.actions for c in work), Actions())
    return costs.seconds_of_right(done, sum(c.cells for c in work))


def _parts(correction: Correction, assumed: Costs) -> list[float]:
    """Return the assumed seconds of each kind of action in one image, and of the image itself."""
    numbers = zip(KINDS, astuple(correction.actions), strict=True)
    return [*(getattr(assumed, _FIELDS[kind]) * n for kind, n in numbers), assumed.image_s]


def _fitted(shares: Float64, took: Float64) -> Float64:
    """Return the factor for each assumed cost.

    Parameters
    ----------
    shares
        Shape (images, costs), each cost's share of an image's assumed seconds; rows add up to 1.
    took
        Shape (images,), the seconds taken as a multiple of those assumed.
    """
    factors: Float64 = np.ones(shares.shape[1])
    weights: Float64 = np.ones(len(took))
    for _ in range(_ROUNDS):
        weighted = shares * weights[:, None]
        bend = weighted.T @ shares + FIRMNESS * np.eye(len(factors))
        factors = np.asarray(np.linalg.solve(bend, weighted.T @ took + FIRMNESS), np.float64)
        off = np.abs(took - shares @ factors)
        spread = max(float(np.median(off)) / 0.6745, 1e-6)
        weights = np.asarray((_ODD * spread / np.maximum(off, 1e-12)).clip(max=1.0), np.float64)
    return factors
