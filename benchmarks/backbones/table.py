"""What the lines say, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.backbones.references import REFERENCES, UNRESIZED
from benchmarks.tables import markdown

Line = dict[str, Any]


def table(lines: Sequence[Line]) -> str:
    """Return a table for each kind of trial that there are lines of."""
    kinds = {kind: [line for line in lines if line["kind"] == kind] for kind in PARTS}
    return "\n\n".join(
        f"{title}\n\n{rows(kinds[kind])}" for kind, (title, rows) in PARTS.items() if kinds[kind]
    )


def learned(lines: Sequence[Line]) -> str:
    """Return means over the seeds; AP50 with its range where there are several."""
    rows = []
    for key in _keys(lines, "data", "minutes", "teach", "backbone"):
        own = _of(lines, key)
        ap50 = [line["ap50"] for line in own]
        spread = f" ({min(ap50):.3f}–{max(ap50):.3f})" if len(ap50) > 1 else ""
        rows.append(
            [
                key["data"],
                key["backbone"],
                f"{key['minutes']:g}",
                f"{_mean(own, 'steps'):.0f}",
                f"{np.mean(ap50):.3f}{spread}",
                f"{_mean(own, 'any_class'):.3f}",
                f"{_mean(own, 'count_error'):.1%}",
                f"{_mean(own, 'weights_bytes') / 1e6:.1f}",
            ]
        )
    heads = ["set", "backbone", "minutes", "steps", "AP50", "any class", "count error", "MB"]
    return markdown(heads, rows)


def image_times(lines: Sequence[Line]) -> str:
    """Return median CPU seconds, and medians over the images of ours to each reference."""
    rows = []
    for line in lines:
        taken = line["seconds"]
        for name, times in taken.items():
            ratios = [_ratio(times, taken[other]) for other in REFERENCES]
            where = f"{line['view']}, scale {line['scale']:g}, {len(times)}"
            known = [line["data"], where, name, f"{np.median(times):.3f}"]
            rows.append([*known, *([""] * len(ratios) if name in REFERENCES else ratios)])
    heads = ["set", "images", "detector", "CPU s", *(f"of {name}" for name in REFERENCES)]
    return markdown(heads, rows)


def step_times(lines: Sequence[Line]) -> str:
    """Return median CPU seconds, and their part of torchvision's."""
    medians = {
        (line["backbone"], line["learns"]): float(np.median(line["seconds"])) for line in lines
    }
    whole = next((taken for (name, _), taken in medians.items() if name == UNRESIZED), None)
    rows = [
        [name, learns, f"{taken:.2f}", f"1/{whole / taken:.1f}" if whole else ""]
        for (name, learns), taken in medians.items()
    ]
    return markdown(["backbone", "learns", "CPU s a step", "of torchvision"], rows)


def _ratio(times: Sequence[float], others: Sequence[float]) -> str:
    ratio = float(np.median(np.array(others) / np.array(times)))
    return f"1/{ratio:.1f}"


PARTS = {
    "learn": ("Accuracy after equal time:", learned),
    "speed": ("CPU seconds an image, one thread, shipped engine and caps:", image_times),
    "step": ("Fine-tuning step, one image of 640×480, one thread:", step_times),
}


def _keys(lines: Iterable[Line], *names: str) -> list[Line]:
    found = {tuple(line[name] for name in names) for line in lines}
    return [dict(zip(names, values, strict=True)) for values in sorted(found)]


def _of(lines: Iterable[Line], key: Line) -> list[Line]:
    return [line for line in lines if all(line[name] == value for name, value in key.items())]


def _mean(lines: Iterable[Line], name: str) -> float:
    return float(np.mean([line[name] for line in lines]))
