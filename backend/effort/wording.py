"""Says how much work the boxes are, for the command line and the dashboard."""

from __future__ import annotations

from backend.actions import Costs
from backend.effort.tally import (
    FEWEST_BY_HAND,
    FEWEST_CELLS_BY_HAND,
    ByHand,
    Tally,
    Work,
)
from model.wording import counted


def work_lines(work: Work) -> list[tuple[str, str]]:
    """Return headings with a line each, the present work first; empty before any was done."""
    if not work.total.images and not work.by_hand.images:
        return []
    lines = [("now", _now(work.now))]
    if work.total.images:
        lines.append(("so far", f"{_amount(work.total)}, {_effort(work.total)}"))
    saved = _saved(work.total, work.seconds_by_hand)
    if saved:
        lines.append(("time", saved))
    if work.by_hand.images:
        lines.append(("by hand", _by_hand(work)))
    return lines


def seconds_line(costs: Costs, images: int) -> tuple[str, str]:
    """Return a heading and the seconds of each action, beside the assumed ones.

    Parameters
    ----------
    images
        The number of images behind the seconds.
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


def _by_hand(work: Work) -> str:
    told = ", ".join((f"{_amount(work.by_hand)} drawn without boxes", *_seconds(work.by_hand)))
    if work.seconds_by_hand.project is not None:
        return told
    enough = f"{FEWEST_BY_HAND} images and {FEWEST_CELLS_BY_HAND} cells"
    return f"{told} (hours saved are told by that from {enough} on)"


def _saved(tally: Tally, by_hand: ByHand) -> str:
    """Return the hours saved, by the project's own figure first; empty if no time is known."""
    sources = (
        (by_hand.project, "s a cell by hand in this project"),
        (by_hand.tare_2020, "s a cell by hand of Tare 2020"),
    )
    hours = [
        f"{saved:z.1f} hours saved against the {round(seconds, 1):g} {source}"
        for seconds, source in sources
        if seconds is not None and (saved := tally.hours_saved(seconds)) is not None
    ]
    return ": ".join((*_seconds(tally), ", ".join(hours))) if hours else ""
