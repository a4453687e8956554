"""What the ladder says, in Markdown: the models side by side, counts by density, time to m06."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tables import markdown
from benchmarks.thesis_ladder.record import COLUMNS
from benchmarks.thesis_ladder.rungs import DEVIATIONS, Rung
from model.judging.strata import DENSITIES, density_of
from model.wording import counted

#: A detector of the thesis that ends below has learned too little to be compared with.
VOID_BELOW = 0.30
YARDSTICKS = ("m06", "m06-ours")

#: The lines of each model that was begun.
Climbs = Mapping[str, Sequence[dict[str, Any]]]


def table(climbs: Climbs, ladder: Mapping[str, Rung], judged_on: str) -> str:
    """Return all tables, and in what the models deviate from the thesis'."""
    done = {name: lines for name, lines in climbs.items() if lines and "result" in lines[-1]}
    parts = [
        f"{judged_on} {trained_on(done)}",
        _models(done, ladder),
        "The thesis' record, its last row:",
        _records(done),
        "Cells found / true by how densely they lie, then as keras-frcnn counts (300 proposals,"
        " NMS at IoU 0.2, score 0.7):",
        _counts(done),
        "\n".join(time_to_best(done, name) for name in YARDSTICKS if name in done),
        "Not as in the thesis:",
        "\n".join(f"- {text}" for text in DEVIATIONS),
    ]
    return "\n\n".join(part for part in parts if part)


def trained_on(climbs: Climbs) -> str:
    """Say on what the models took their steps, each by itself where they differ."""
    on = {name: _where(lines[-1]) for name, lines in climbs.items()}
    if len(set(on.values())) <= 1:
        return f"Trained on {next(iter(on.values()), 'nothing yet')}."
    each = "; ".join(f"{name} on {where}" for name, where in on.items())
    return f"Not all trained on the same, so that their times do not compare: {each}."


def _where(line: Mapping[str, Any]) -> str:
    if "device" not in line:
        return "a device that is not known"
    return f"{line['device']}, {counted(line['threads'], 'thread')}"


def is_void(rung: Rung, ap50: float | None) -> bool:
    """Say whether a model of the thesis ended too low to be compared with."""
    return rung.is_thesis and (ap50 is None or ap50 < VOID_BELOW)


def time_to_best(climbs: Climbs, name: str) -> str:
    """Say when ours had the AP50 that a model had at its best."""
    best = max(climbs[name], key=lambda line: line["ap50"] or 0.0)
    wanted, needed = best["ap50"] or 0.0, best["record"]["elapsed_time"]
    said = f"{name} at its best: AP50 {wanted:.3f} after {needed:.2f} min."
    for ours in ("default-20th", "default"):
        at = [
            line["record"]["elapsed_time"]
            for line in climbs.get(ours, ())
            if (line["ap50"] or 0.0) >= wanted
        ]
        if at:
            said += f" {ours}: after {at[0]:.2f} min, {at[0] / needed:.3f} of that."
        elif ours in climbs:
            said += f" {ours}: not reached."
    return said


def _models(climbs: Climbs, ladder: Mapping[str, Rung]) -> str:
    rows = []
    for name, lines in climbs.items():
        last, report = lines[-1], lines[-1]["result"]["report"]
        note = last.get("diverged", "")
        if is_void(ladder[name], last["ap50"]):
            note = f"VOID: it ended under AP50 {VOID_BELOW:.2f} in this time. {note}".strip()
        rows.append(
            [
                f"{name} ({ladder[name].says})",
                f"{last['record']['elapsed_time']:.1f}",
                str(last["iteration"]),
                _figure(last["ap50"]),
                _figure(report["any_class"]["ap50"]),
                f"{report['count']['error']:.1%}",
                note,
            ]
        )
    heads = ["model", "minutes", "steps", "AP50", "AP50, any class", "count error", "note"]
    return markdown(heads, rows)


def _records(climbs: Climbs) -> str:
    rows = [
        [name, *(_figure(lines[-1]["record"][column]) for column in COLUMNS)]
        for name, lines in climbs.items()
    ]
    return markdown(["model", *COLUMNS], rows)


def _counts(climbs: Climbs) -> str:
    rows = []
    for name, lines in climbs.items():
        result = lines[-1]["result"]
        pairs = result["report"]["counts"]
        thesis = [
            (found, true) for found, (_, true) in zip(result["thesis_counts"], pairs, strict=True)
        ]
        cells = [
            by_density(counts).get(each, "") for counts in (pairs, thesis) for each in DENSITIES
        ]
        rows.append([name, *cells])
    again = [f"{name}, keras-frcnn's" for name in DENSITIES]
    return markdown(["model", *DENSITIES, *again], rows)


def by_density(counts: Sequence[Sequence[int]]) -> dict[str, str]:
    """Return found / true cells an image, and how many images, of each class of density."""
    classes: dict[str, list[Sequence[int]]] = {}
    for found, true in counts:
        classes.setdefault(density_of(true), []).append((found, true))
    return {
        name: " / ".join(f"{sum(each) / len(pairs):.1f}" for each in zip(*pairs, strict=True))
        + f" ({len(pairs)})"
        for name, pairs in classes.items()
    }


def _figure(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
