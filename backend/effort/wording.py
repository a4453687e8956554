"""How much work the boxes are, in words: for the command line and the dashboard."""

from __future__ import annotations

from backend.actions import BY_HAND_S_PER_CELL, Costs
from backend.effort.tally import Tally, Work
from model.wording import counted


def work_lines(work: Work) -> list[tuple[str, str]]:
    """Return headings with a line each, what the work is now first; none before any was done."""
    if not work.total.images and not work.by_hand.images:
        return []
    lines = [("now", _now(work.now))]
    if work.total.images:
        lines.append(("so far", f"{_amount(work.total)}, {_effort(work.total)}"))
    if work.total.hours_saved is not None:
        lines.append(("time", _saved(work.total)))
    if work.by_hand.images:
        drawn = f"{_amount(work.by_hand)} drawn without boxes"
        lines.append(("by hand", ", ".join((drawn, *_seconds(work.by_hand)))))
    return lines


def seconds_line(costs: Costs, images: int) -> tuple[str, str]:
    """Return a heading and the seconds of each action, beside those that are assumed.

    Parameters
    ----------
    images
        That tell the seconds.
    """
    assumed = vars(Costs())
    each = (
        f"{name.removesuffix('_s')} {seconds:.1f} ({assumed[name]:g} assumed)"
        for name, seconds in vars(costs).items()
    )
    verb = "tells" if images == 1 else "tell"
    return "seconds", f"{', '.join(each)}, as {counted(images, 'image')} {verb}"


def _now(tally: Tally) -> str:
    if not tally.images:
        return "nothing was corrected yet with the champion's boxes"
    where = f"with the champion's boxes in {counted(tally.images, 'image')}"
    return ", ".join((_effort(tally), *_seconds(tally), where))


def _amount(tally: Tally) -> str:
    twice = tally.annotations - tally.images
    more = f" and {counted(twice, 'further annotation')} of them" if twice else ""
    return f"{counted(tally.images, 'image')}{more} with {counted(tally.cells, 'cell')}"


def _effort(tally: Tally) -> str:
    if tally.effort is None:
        return f"{counted(tally.actions.number, 'correction')} and no cell"
    return f"{tally.effort:.2f} corrections a cell (drawing everything is 1)"


def _seconds(tally: Tally) -> list[str]:
    return [] if tally.seconds_per_cell is None else [f"{tally.seconds_per_cell:.1f} s a cell"]


def _saved(tally: Tally) -> str:
    by_hand = f"by hand {BY_HAND_S_PER_CELL:.0f} s: {tally.hours_saved:z.1f} hours saved"
    return ", ".join((*_seconds(tally), by_hand))
