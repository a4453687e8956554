"""Does matching help? `python -m benchmarks.contrast --out results.jsonl` trains and judges.

For each set, treatment of contrast, augmentation and seed one detector is trained from nothing on
a few images of the teaching side, and judged on images of the test side as they are and with their
contrast shifted. A line of JSON each; a line that is there already is not done again, so that it
can be stopped and go on. `--table` prints what the lines say.

Treatments: `stretch` (percentiles; mode none), `single` (one template), `terciles` (one template
for each third of the images by standard deviation: a stand-in for the thesis' sorting by hand),
`groups` (automatic), `flat` (background evened out, then groups), `flat-single`, `half` (groups,
half way to the template), `middle` (groups, middle rank).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_images import real_images, spread
from model.anchors import resolve
from model.boxes import Box, Detections
from model.config import DetectorConfig, TrainConfig
from model.evaluation import best_f1_threshold, evaluate
from model.examples import DatasetSnapshot, LabelledImage
from model.loaded import LoadedVersion
from model.versions import ModelVersion
from preprocessing.contrast import ContrastConfig
from preprocessing.fitting import fit_groups, fit_images, traits_of
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord

CELL = "cell"
TREATMENTS: dict[str, ContrastConfig] = {
    "stretch": ContrastConfig(mode="none"),
    "single": ContrastConfig(mode="single"),
    "groups": ContrastConfig(mode="groups"),
    "flat": ContrastConfig(mode="flat"),
    "flat-single": ContrastConfig(mode="flat", groups=1),
    "half": ContrastConfig(mode="groups", strength=0.5),
    "middle": ContrastConfig(mode="groups", rank="middle"),
    "terciles": ContrastConfig(mode="groups"),
}
AUGMENTATIONS = {"mild": (0.15, 0.0), "strong": (0.4, 0.25)}

Pixels = NDArray[np.float64]


def _about_mean(gain: float) -> Callable[[Pixels], Pixels]:
    return lambda p: p.mean() + gain * (p - p.mean())


def _vignette(pixels: Pixels) -> Pixels:
    rows, columns = (np.linspace(-1, 1, n) for n in pixels.shape)
    radius = (rows[:, None] ** 2 + columns[None, :] ** 2) / 2
    return pixels * (1 - 0.5 * radius)


def _noise(pixels: Pixels) -> Pixels:
    return pixels + np.random.default_rng(0).normal(0, 8, pixels.shape)


#: What is done to the 8-bit levels of a test image; the result is rounded and clipped to 8 bits.
SHIFTS: dict[str, Callable[[Pixels], Pixels]] = {
    "as is": lambda p: p,
    "gain 0.6": _about_mean(0.6),
    "gain 1.4": _about_mean(1.4),
    "gamma 0.5": lambda p: 255 * (p / 255) ** 0.5,
    "gamma 2": lambda p: 255 * (p / 255) ** 2,
    "vignette": _vignette,
    "noise": _noise,
}


@dataclass(frozen=True)
class Trial:
    """One training: what it is told apart from the others by."""

    data: str
    treatment: str
    augmentation: str
    seed: int


class StdTerciles(ContrastGroups):
    """Contrast groups by thirds of the standard deviation, as a hand would sort them."""

    def told_by(self, limits: Sequence[float]) -> StdTerciles:
        object.__setattr__(self, "std_limits", tuple(limits))
        return self

    def assign(self, profile: Any) -> Any:
        place = int(np.searchsorted(self.std_limits, np.std(profile.levels)))  # type: ignore[attr-defined]
        return replace(super().assign(profile), group=self.names[place])


def groups_for(treatment: str, images: Sequence[LabelledImage]) -> ContrastGroups:
    """Fit the treatment's contrast groups to the training images."""
    config = TREATMENTS[treatment]
    if treatment != "terciles":
        return fit_images((image.read() for image in images), config)
    profiles = [traits_of(image.read(), config).profile for image in images]
    stds = np.array([np.std(p.levels) for p in profiles])
    limits = np.quantile(stds, [1 / 3, 2 / 3])
    thirds = np.searchsorted(limits, stds)
    parts = [
        fit_groups([p for p, t in zip(profiles, thirds, strict=True) if t == third], "single")
        for third in range(3)
    ]
    return StdTerciles(
        config,
        ("low", "medium", "high"),
        np.concatenate([part.centres for part in parts]),
        tuple(part.templates[0] for part in parts),
        np.concatenate([part.limits for part in parts]),
    ).told_by(limits)


def any_cell(images: Sequence[LabelledImage]) -> tuple[LabelledImage, ...]:
    """Return the images with every box of one class: finding is judged here, not naming."""
    return tuple(
        replace(image, boxes=tuple(replace(box, label=CELL) for box in image.boxes))
        for image in images
    )


def shifted(image: ImageRecord, shift: str) -> ImageRecord:
    levels = SHIFTS[shift](image.pixels.astype(np.float64))
    return replace(image, pixels=np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def carry_out(trial: Trial, teach: int, judge: int, iterations: int) -> dict[str, Any]:
    """Train and judge one trial; return AP50 and count error by shift, and the halo."""
    from model.detector import load_detector
    from model.training import train

    data = real_images(trial.data)
    chosen = spread(data.rest, teach)
    snapshot = DatasetSnapshot(any_cell(chosen), (CELL,))
    toning, invert = AUGMENTATIONS[trial.augmentation]
    training = TrainConfig(iterations=iterations, seed=trial.seed, tone=toning, invert=invert)
    detector = resolve(DetectorConfig(), snapshot)
    groups = groups_for(trial.treatment, snapshot.images)
    with tempfile.TemporaryDirectory() as folder:
        weights = train(snapshot, groups, detector, training, None, (), Path(folder), "cpu")
        torch_detector = load_detector(weights, detector, (CELL,), "cpu")
    version = ModelVersion("trial", "trained", (CELL,), 0.0, detector)
    loaded = LoadedVersion(version, groups, torch_detector)
    threshold = best_f1_threshold(_find(loaded, snapshot.images, "as is"), snapshot.images)
    test = any_cell(spread(data.test, judge))
    reports = {
        shift: evaluate(_find(loaded, test, shift), test, (CELL,), threshold) for shift in SHIFTS
    }
    return {
        **vars(trial),
        "teach": teach,
        "judge": len(test),
        "iterations": iterations,
        "groups": list(groups.names),
        "halo": halo(test, groups),
        "ap50": {shift: report.any_class.ap50 for shift, report in reports.items()},
        "count_error": {shift: report.count.error for shift, report in reports.items()},
    }


def _find(loaded: LoadedVersion, images: Sequence[LabelledImage], shift: str) -> list[Detections]:
    return [loaded.find([shifted(i.read(), shift)])[0].detections for i in images]


def halo(images: Sequence[LabelledImage], groups: ContrastGroups) -> float:
    """Return how much brighter the rings round true boxes become by the treatment.

    The mean level of a ring of a quarter of the box's side about each true box, less the image's
    median, in units of the image's 0.1–99.9 % range; after the treatment less before it. The
    thesis' one template drew such bright rings, its "aureolas" (Tare 2020, §5.3).
    """
    from preprocessing.prepare import prepare

    none = ContrastGroups.none()
    differences = []
    for image in images:
        raw = image.read()
        before, after = (prepare(raw, g).pixels for g in (none, groups))
        differences += [_ring(after, box) - _ring(before, box) for box in image.boxes]
    return float(np.mean(differences))


def _ring(pixels: NDArray[np.float32], box: Box) -> float:
    wide = (box.width + box.height) / 8
    outer = _window(pixels, box, wide)
    inner = _window(pixels, box, 0.0)
    area = outer.size - inner.size
    level = (outer.sum() - inner.sum()) / area if area else 0.0
    return float(level - np.median(pixels))


def _window(pixels: NDArray[np.float32], box: Box, wide: float) -> NDArray[np.float32]:
    top, left = (max(0, round(edge - wide)) for edge in (box.ymin, box.xmin))
    return pixels[top : round(box.ymax + wide), left : round(box.xmax + wide)]


def trials(sets: Sequence[str], treatments: Sequence[str], seeds: int) -> Iterator[Trial]:
    """Yield the trials in an order that is of use wherever it is stopped."""
    for seed in range(seeds):
        for augmentation in AUGMENTATIONS:
            for treatment in treatments:
                for name in sets:
                    yield Trial(name, treatment, augmentation, seed)


def lines_of(out: Path) -> list[dict[str, Any]]:
    text = out.read_text("utf-8") if out.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return a table in Markdown: means over seeds, a row for each set and treatment."""
    rows = [
        "| set | augmentation | treatment | n | " + " | ".join(SHIFTS) + " | worst loss | halo |"
    ]
    rows.append("|" + " --- |" * (len(SHIFTS) + 6))
    keys = sorted({(x["data"], x["augmentation"], x["treatment"]) for x in lines})
    for key in keys:
        own = [x for x in lines if (x["data"], x["augmentation"], x["treatment"]) == key]
        ap = {s: float(np.mean([x["ap50"][s] for x in own])) for s in SHIFTS}
        loss = ap["as is"] - min(ap.values())
        cells = [*key, str(len(own)), *(f"{ap[s]:.3f}" for s in SHIFTS), f"{loss:.3f}"]
        rows.append(f"| {' | '.join(cells)} | {np.mean([x['halo'] for x in own]):+.3f} |")
    return "\n".join(rows)


def main() -> None:
    """Carry out what is not done yet, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--sets", nargs="+", default=["bccd", "dsb2018", "usiigaci"])
    parser.add_argument("--treatments", nargs="+", default=list(TREATMENTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teach", type=int, default=20)
    parser.add_argument("--judge", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=100)
    arguments = parser.parse_args()
    lines = lines_of(arguments.out)
    if arguments.table:
        print(table(lines))
        return
    done = {Trial(**{k: line[k] for k in Trial.__annotations__}) for line in lines}
    for trial in trials(arguments.sets, arguments.treatments, arguments.seeds):
        if trial in done:
            continue
        result = carry_out(trial, arguments.teach, arguments.judge, arguments.iterations)
        with arguments.out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
        print(trial, {s: round(v, 3) for s, v in result["ap50"].items()}, flush=True)


if __name__ == "__main__":
    main()
