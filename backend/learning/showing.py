"""Chooses after each run which boxes annotators are shown: few, at nearly the least time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from backend.actions import Costs
from backend.effort.costing import measured_costs, recent_seconds_of_right
from backend.effort.measuring import measure
from backend.learning.snapshots import frozen_whole
from backend.learning.triggers import push_champion
from backend.services import Services
from model.judging.calibration import calibrate, likely, reliability
from model.judging.counting import pairs_of
from model.judging.evaluation import find_in
from model.judging.pairing import Pairs
from model.judging.policy import Policy, saves_time_from
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.looking.loaded import LoadedVersion
from model.progress import ignore_note
from model.reports import calibration_error
from model.versions import ModelVersion
from preprocessing.arrays import Boolean, Float32, Float64, Int64

#: How many of the newest images are looked at: they are most like those to come.
MOST_IMAGES = 40
#: With fewer images or true boxes, what counts is shown. Going by raw scores, or by scores in the
#: images that taught, once made a quarter to a third more work (docs/effort.md).
FEWEST_TELLING, FEWEST_BOXES = 4, 40
#: Share of the least time that is given up to show fewer boxes. Near the least, time hardly
#: changes, while each doubtful box is one more to delete, or to be left by mistake.
GIVEN_FOR_FEWER = 0.02


def show_least_work(
    services: Services,
    project: int,
    version: ModelVersion,
    snapshot: DatasetSnapshot,
    on_note: Callable[[str], None],
) -> bool:
    """Choose anew which of a version's boxes a project is shown.

    Parameters
    ----------
    on_note
        Called with what was chosen, and why.

    Returns
    -------
    Whether the choice differs from the one before.
    """
    images = unlearned(snapshot, version)[-MOST_IMAGES:]
    least_work = _least_work(services, project, version, images, on_note)

    def change(before: Policy) -> Policy:
        # A person may have chosen both while the images were looked at.
        is_wanted = services.projects.get(project).least_work
        policy = least_work if least_work and is_wanted else Policy.of(version)
        return replace(policy, cell_diameter_px=before.cell_diameter_px)

    changed = services.registry.set_policy(str(project), version, change)
    policy = services.registry.policy(str(project), version)
    if policy.is_calibrated:
        doubtful = (
            "but nothing in more doubt, which would hardly save time"
            if policy.shown_from is None
            else f"and what is a cell with a probability of {policy.shown_from:.2f}"
        )
        on_note(
            f"what counts is shown, from a score of {version.threshold:.2f} on, {doubtful}, as "
            f"{len(images)} images tell that were not learned from"
        )
    return changed


def show_anew(services: Services, project: int, on_note: Callable[[str], None]) -> None:
    """Choose anew which of the champion's boxes are shown, and give them to the open tasks.

    For the least work they are chosen by the project's newest readable snapshot; without one
    nothing changes.

    Raises
    ------
    QueueError
        Redis cannot be reached; the poll gives the tasks their boxes later.
    """
    if services.projects.get(project).least_work:
        snapshot = _last_frozen(services, project, on_note)
    else:
        snapshot = DatasetSnapshot((), ())  # what counts is shown, whatever images would say
    champion = services.registry.champion(str(project))
    if snapshot and show_least_work(services, project, champion, snapshot, on_note):
        push_champion(services, project)


def tell_cell_diameter(services: Services, project: int, cell_diameter_px: float | None) -> None:
    """Set the size of a project's cells, in raw pixels; None: find it in each image.

    Raises
    ------
    SizeNotAsked
        The champion has learned the size from the corrected boxes, or needs none.
    QueueError
        Redis cannot be reached; the poll gives the tasks their boxes later.
    """
    key, champion = str(project), services.registry.champion(str(project))
    if cell_diameter_px is None and not champion.finds_scale:
        return
    champion.require_finds_scale()
    services.registry.set_policy(
        key, champion, lambda policy: replace(policy, cell_diameter_px=cell_diameter_px)
    )
    push_champion(services, project)


def unlearned(snapshot: DatasetSnapshot, version: ModelVersion) -> tuple[LabelledImage, ...]:
    """Return the images by which to choose a version's boxes: none that taught it or judges.

    They are the inner side, and train images that the version itself has not learned from.
    """
    return tuple(
        image
        for image in snapshot.of_side("train", "inner")
        if image.side == "inner" or image.sha256 not in version.lineage
    )


def tell_enough(images: Sequence[LabelledImage]) -> bool:
    """Tell whether images and true boxes are enough to choose which boxes are shown."""
    return (
        len(images) >= FEWEST_TELLING and sum(len(image.boxes) for image in images) >= FEWEST_BOXES
    )


def of_least_work(
    loaded: LoadedVersion,
    images: Sequence[LabelledImage],
    default_class: str,
    costs: Costs,
    right_s: float,
    on_note: Callable[[str], None] = ignore_note,
) -> Policy:
    """Return the policy that shows few of a version's boxes at nearly the least time.

    Parameters
    ----------
    images
        Enough images (:func:`tell_enough`) that the version has not learned from.
    right_s
        Mean seconds spent on a box that is on a cell.
    on_note
        Called with how far off the scores were, and how far off the probabilities are.
    """
    found, groups = find_in(loaded, images, default_class)
    pairs = pairs_of(found, images)
    policy = told_by(pairs, groups, loaded.version.threshold, costs, right_s)
    scores = pairs.scores, likely(policy.calibration, pairs, groups)
    before, after = (calibration_error(reliability(each, pairs.right)) for each in scores)
    on_note(
        f"on the average scores are {before:.2f} off the share of right boxes, probabilities "
        f"{after:.2f}"
    )
    return policy


def told_by(
    pairs: Pairs, groups: Sequence[str], counted_from: float, costs: Costs, right_s: float
) -> Policy:
    """Return the policy of least work, from a version's boxes in some images.

    Parameters
    ----------
    groups
        The contrast group of each image.
    counted_from
        The version's own threshold.
    """
    calibration = calibrate(pairs, groups)
    probabilities = likely(calibration, pairs, groups)
    counts = pairs.scores >= counted_from
    shown_from = fewest_from(probabilities, counts, pairs.cells, costs, right_s)
    return Policy(counted_from, shown_from, calibration)


def fewest_from(
    probabilities: Float32, counts: Boolean, cells: Int64, costs: Costs, right_s: float
) -> float | None:
    """Return the probability from which boxes are shown: few, at nearly the least time.

    Parameters
    ----------
    probabilities, counts
        Shape (N,), of all boxes of the images, in any order, and whether each counts: those that
        count are shown in any case.
    cells
        Shape (images,), the number of cells in each image.
    right_s
        Mean seconds spent on a box that is on a cell.

    Returns
    -------
    In [0, 1], in thousandths, never below where showing a box begins to save time. None: show only
    those that count.
    """
    least = saves_time_from(costs.add_s, costs.delete_s, right_s)

    def mended_s(likely: Float64) -> Float64:
        return likely * right_s + (1 - likely) * costs.delete_s

    pays = probabilities >= least
    shown = probabilities[pays | counts].astype(np.float64)
    drawn_s = costs.add_s * max(0.0, float(cells.sum() - shown.sum()))
    least_s = costs.image_s * len(cells) + drawn_s + float(mended_s(shown).sum())
    # The most doubtful are hidden first; each costs the time that it would have saved.
    doubtful = np.sort(probabilities[pays & ~counts].astype(np.float64))
    given_s = np.cumsum(doubtful * costs.add_s - mended_s(doubtful))
    hidden = int(np.searchsorted(given_s, GIVEN_FOR_FEWER * least_s, side="right"))
    if not hidden:
        return math.ceil(1000 * least) / 1000
    return math.floor(1000 * doubtful[hidden]) / 1000 if hidden < len(doubtful) else None


def _last_frozen(
    services: Services, project: int, on_note: Callable[[str], None]
) -> DatasetSnapshot | None:
    found = (frozen_whole(services, run, on_note) for run in services.runs.all(project))
    return next(filter(None, found), None)


def _least_work(
    services: Services,
    project: int,
    version: ModelVersion,
    images: Sequence[LabelledImage],
    on_note: Callable[[str], None],
) -> Policy | None:
    """Return the policy of least work; None if not wanted, or with too few images or boxes."""
    chosen = services.projects.get(project)
    if not chosen.least_work or not tell_enough(images):
        return None
    loaded = services.registry.load_for(str(project), version, services.settings.device)
    worked = measure(services, project)
    costs = measured_costs(worked)
    right_s = recent_seconds_of_right(worked, costs)
    return of_least_work(loaded, images, chosen.default_class, costs, right_s, on_note)
