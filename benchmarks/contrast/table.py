"""What the trials say: tables in Markdown, with paired intervals against a rival."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from benchmarks.contrast.shifts import AS_IS, SHIFTS
from benchmarks.contrast.treatments import TERCILES
from benchmarks.contrast.trial import Trial, load_pairs
from benchmarks.tables import markdown
from model.judging.pairing import Pairs
from model.judging.resampling import draw_weights, interval, resampled_ap
from model.reports import Interval

Line = dict[str, Any]


def figures_table(lines: Sequence[Line]) -> str:
    """Return AP50 by shift, the worst loss, count error and halo: means over the seeds."""
    head = ["set", "augmentation", "treatment", "seeds", *SHIFTS, "worst loss", "count error"]
    rows = []
    for key in sorted({_key(line) for line in lines}):
        own = [line for line in lines if _key(line) == key]
        ap = {shift: _mean(own, "ap50", shift) for shift in SHIFTS}
        loss = ap[AS_IS] - min(ap.values())
        count = f"{_mean(own, 'count_error', AS_IS):.3f}"
        halo = f"{np.mean([line['halo'] for line in own]):+.3f}"
        shown = [f"{value:.3f}" for value in (*ap.values(), loss)]
        rows.append([*key, str(len(own)), *shown, count, halo])
    return markdown([*head, "halo"], rows)


def over_sets_table(lines: Sequence[Line]) -> str:
    """Return what counts most: means over the sets, the mean and the worst over the shifts.

    Only of what was tried on every set: the sets are not equally hard. Each weighs the same,
    however many seeds it had.
    """
    ranked = []
    for key in {_key(line)[1:] for line in lines}:
        own = [line for line in lines if _key(line)[1:] == key]
        if {line["data"] for line in own} != {line["data"] for line in lines}:
            continue
        ap = {shift: _mean_over_sets(own, "ap50", shift) for shift in SHIFTS}
        others = [value for shift, value in ap.items() if shift != AS_IS]
        ranked.append((ap[AS_IS], np.mean(others), ap[AS_IS] - min(others), key, len(own)))
    rows = [
        [*key, str(number), f"{as_is:.3f}", f"{mean:.3f}", f"{loss:.3f}"]
        for as_is, mean, loss, key, number in sorted(ranked, reverse=True)
    ]
    heads = ["augmentation", "treatment", "trials", AS_IS, "shifted, mean", "worst loss"]
    return markdown(heads, rows)


def gains_table(lines: Sequence[Line], folder: Path, ours: str, augmentation: str) -> str:
    """Return the AP50 of one treatment above each other, paired by image, with 95 % intervals."""
    rows = []
    of = [line for line in lines if line["augmentation"] == augmentation]
    for name, rival in sorted({(line["data"], line["treatment"]) for line in of}):
        seeds = _seeds(of, name, ours) & _seeds(of, name, rival)
        if rival != ours and seeds:
            trials = [[Trial(name, t, augmentation, s) for s in seeds] for t in (ours, rival)]
            rows.append([name, rival, *(_gain(folder, trials, shift) for shift in SHIFTS)])
    return markdown(["set", f"{ours} against", *SHIFTS], rows)


def ap50_lead(ours: Sequence[Pairs], theirs: Sequence[Pairs]) -> Interval | None:
    """Return the interval of the AP50 that one way of working has above another, paired by image.

    Parameters
    ----------
    ours, theirs
        One each for a training (a seed), all on the same images in the same order; the AP50 of the
        trainings are averaged before they are compared.

    Raises
    ------
    ValueError
        When the images are not the same.
    """
    cells = ours[0].cells
    if any(not np.array_equal(each.cells, cells) for each in (*ours, *theirs)):
        raise ValueError("both must be judged on the same images, in the same order")
    weights = draw_weights(len(cells))
    mean = [
        np.mean([resampled_ap(each, weights) for each in side], axis=0) for side in (ours, theirs)
    ]
    return interval(mean[0] - mean[1])


def agreement(lines: Sequence[Line]) -> str:
    """Return how far automatic groups agree with std terciles: adjusted Rand by set."""
    rows = []
    for name in sorted({line["data"] for line in lines}):
        found = {line["treatment"]: line["assigned"] for line in lines if line["data"] == name}
        if {"groups", TERCILES} <= set(found):
            score = adjusted_rand_score(found[TERCILES], found["groups"])
            rows.append([name, f"{score:.2f}"])
    return markdown(["set", "adjusted Rand of groups and terciles"], rows)


def _gain(folder: Path, trials: Sequence[Sequence[Trial]], shift: str) -> str:
    pairs = [[load_pairs(folder / f"{t.name}.npz", shift) for t in side] for side in trials]
    found = ap50_lead(*pairs)
    means = [np.mean([resampled_ap(p, np.ones((1, len(p.cells)))) for p in side]) for side in pairs]
    likely = f" [{found.low:+.3f}, {found.high:+.3f}]" if found else ""
    return f"{means[0] - means[1]:+.3f}{likely}"


def _seeds(lines: Sequence[Line], name: str, treatment: str) -> set[int]:
    return {x["seed"] for x in lines if (x["data"], x["treatment"]) == (name, treatment)}


def _key(line: Line) -> tuple[str, str, str]:
    return line["data"], line["augmentation"], line["treatment"]


def _mean(lines: Sequence[Line], figure: str, shift: str) -> float:
    return float(np.mean([line[figure][shift] for line in lines]))


def _mean_over_sets(lines: Sequence[Line], figure: str, shift: str) -> float:
    sets = {line["data"] for line in lines}
    each = [[line for line in lines if line["data"] == name] for name in sorted(sets)]
    return float(np.mean([_mean(own, figure, shift) for own in each]))
