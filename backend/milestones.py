"""Decides when a run starts by itself, from numbers of corrected images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count


def next_milestone(
    corrected: int, milestones: Sequence[int], step: int, done: Collection[int]
) -> int | None:
    """Return the milestone for which a run is due now.

    It is the highest one reached. Milestones skipped on the way are not made up for: a run learns
    from all corrections, so a run for the highest does the work of all.

    Parameters
    ----------
    corrected
        Number of corrected images.
    milestones
        Ascending.
    step
        After the last milestone there is another every ``step`` images; none if 0.
    done
        Numbers of corrected images at which runs were opened.

    Returns
    -------
    None if no milestone is reached, or a run was opened there or later.
    """
    reached = _highest_reached(corrected, milestones, step)
    if reached is None or any(number >= reached for number in done):
        return None
    return reached


def upcoming_milestones(
    corrected: int, milestones: Sequence[int], step: int, done: Collection[int]
) -> Iterator[int]:
    """Yield the numbers of corrected images at which the next runs start, ascending.

    A run at more images than there are now (some were deleted since) has done the lower milestones.
    If ``step`` is 0 they end with the last milestone.

    Parameters
    ----------
    corrected, milestones, step, done
        As in ``next_milestone``.
    """
    reached = max([corrected, *done])
    yield from (milestone for milestone in milestones if milestone > reached)
    if step > 0:
        last = milestones[-1] if milestones else 0
        yield from count(last + step * (max(reached - last, 0) // step + 1), step)


def way_to(upcoming: int | None, corrected: int, milestones: Sequence[int], step: int) -> float:
    """Return the share of the way from the previous to the upcoming milestone, in [0, 1]."""
    if upcoming is None:
        return 1.0
    before = max((m for m in milestones if m < upcoming), default=0)
    before = before if upcoming in milestones else upcoming - step
    return min(max((corrected - before) / (upcoming - before), 0.0), 1.0)


def _highest_reached(corrected: int, milestones: Sequence[int], step: int) -> int | None:
    last = milestones[-1] if milestones else 0
    if step > 0 and corrected >= last + step:
        return corrected - (corrected - last) % step
    return max((m for m in milestones if m <= corrected), default=None)
