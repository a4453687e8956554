"""How good the default becomes: `python -m benchmarks.accuracy --out OUT [--teach 10 --draws 3]`.

Trains the default as a run of the loop would, from the starter that is shipped, from one that has
not seen the set (`--start STARTERS/no_{set}`, by `benchmarks.starter`) or from nothing (`--start
nothing`), on all images that may teach or on a few drawn ones, and judges it on the test side:
mAP50 of the set's own classes, any class, and the error of its counts at the threshold that a run
would choose. Of more than 20 images each sixth stops and chooses the threshold. To choose a setting
(`--steps`), judge on teaching images that are set apart instead (`--apart`). `--preset fast` trains
the other preset that is offered. Each training adds a line of JSON to OUT/lines.jsonl and a version
to OUT/versions; one that is there is not done again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.columns import aligned
from benchmarks.beginning import id_of, keep_starter
from benchmarks.lines import add_line, lines_of
from benchmarks.real_images import INNER_SHARE, RealImages, real_images
from benchmarks.sides import SETS
from model.classical.detector import CLASSICAL_ID
from model.config import PRESETS
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.labels.sides import INNER_FROM
from model.learning.candidate import make_candidate
from model.progress import Progress
from model.versions import ModelVersion

LINES = "lines.jsonl"
#: What a training begins with that begins with no weights.
NOTHING = Path("nothing")
#: By what one training is distinguished from another.
KEY = ("set", "start", "teach", "draw", "apart", "steps", "preset", "threads")


@dataclass(frozen=True)
class Plan:
    """One training: of which images, from what, for how long.

    Parameters
    ----------
    made
        Folder of the starter that has not seen the set, or ``NOTHING``; None: the one that is
        shipped.
    teach
        Images that teach; 0: all that may.
    apart
        How many teaching images judge in place of the test side; 0: the test side judges.
    steps
        0: as many as a run takes.
    preset
        What is built and how it is trained, as ``CYTOLOOP_PRESET`` says.
    threads
        From two threads on, two processes train.
    """

    set: str
    made: Path | None
    teach: int
    draw: int
    apart: int
    steps: int
    preset: str
    threads: int

    @property
    def key(self) -> list[object]:
        if self.made is None or self.made == NOTHING:
            start = str(self.made or STARTER_ID)
        else:
            start = id_of(self.made)
        drawn = self.teach, self.draw, self.apart, self.steps
        return [self.set, start, *drawn, self.preset, self.threads]


def snapshot_of(data: RealImages, plan: Plan) -> DatasetSnapshot:
    """Return what a training sees and is judged on."""
    order = np.random.default_rng(plan.draw).permutation(len(data.rest))
    apart, rest = order[: plan.apart], order[plan.apart :]
    drawn = [data.rest[i] for i in rest[: plan.teach or len(rest)]]
    inner = len(drawn) // INNER_SHARE if len(drawn) > INNER_FROM else 0
    sides = ["inner"] * inner + ["train"] * (len(drawn) - inner)
    images = [replace(i, side=side) for i, side in zip(drawn, sides, strict=True)]
    judges = [data.rest[i] for i in apart] or data.test
    return DatasetSnapshot((*images, *_held_out(judges)), data.classes)


def _held_out(images: Sequence[LabelledImage]) -> tuple[LabelledImage, ...]:
    return tuple(replace(image, side="held-out") for image in images)


def learn(plan: Plan, device: str, registry: Registry) -> dict[str, Any]:
    """Train and judge once."""
    start = None if plan.made == NOTHING else _start(plan, registry)
    began, cpu = time.perf_counter(), _cpu_s()
    detector, training = PRESETS[plan.preset]
    stages = dict[str, float]()

    def note(now: Progress) -> None:
        stages.setdefault(now.stage, time.perf_counter())

    with tempfile.TemporaryDirectory(prefix="cytoloop-accuracy-") as workdir:
        version = make_candidate(
            snapshot_of(real_images(plan.set), plan),
            registry,
            workdir=Path(workdir),
            champion=start,
            recipe=(detector, replace(training, iterations=plan.steps)),
            device=device,
            on_progress=note,
        )
    minutes, cpu_s = (time.perf_counter() - began) / 60, _cpu_s() - cpu
    report = version.report
    assert report is not None
    return {
        **dict(zip(KEY, plan.key, strict=True)),
        "version": version.id,
        "map50": report.mean.ap50,
        "any_class": report.any_class.ap50,
        "any_class_ap75": report.any_class.ap75,
        "by_class": {label: ap.ap50 for label, ap in report.by_class.items()},
        "count_error": report.count.error,
        "count_bias": report.count.bias,
        "count_median": report.count.median_error,
        "threshold": version.threshold,
        "minutes": minutes,
        "minutes_to_judging": (stages["evaluating"] - began) / 60,
        "cpu_s": cpu_s,
        "device": device,
        "parent": version.parent,
        "notes": version.notes,
    }


def _cpu_s() -> float:
    """Return what this process and those that trained with it have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _start(plan: Plan, registry: Registry) -> ModelVersion:
    return keep_starter(plan.made, registry) if plan.made else registry.get(STARTER_ID)


def shown(lines: Sequence[dict[str, Any]]) -> str:
    figures = "map50", "any_class", "any_class_ap75", "count_error", "count_bias", "count_median"
    rows = [
        [
            *(str(line.get(k, "")) for k in KEY),
            *(f"{line[f]:.3f}" if f in line else "" for f in figures),
            f"{line['minutes']:.1f}",
        ]
        for line in lines
    ]
    return "\n".join(aligned([[*KEY, *figures, "minutes"], *rows], left=2))


def main() -> None:
    """Carry out what is not done yet, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--teach", type=int, default=0, help="images; 0: all that may")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--start", help="starters/no_{set}: a starter without the set; nothing")
    parser.add_argument("--apart", type=int, default=0, help="teaching images that judge; 0: none")
    parser.add_argument("--steps", type=int, default=0, help="0: as many as a run takes")
    parser.add_argument("--preset", default="default", choices=sorted(PRESETS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if options.apart and not options.start:
        parser.error("--apart judges by teaching images: --start with what has not seen them")
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # onnxruntime's, which judges
    options.out.mkdir(parents=True, exist_ok=True)
    for draw in range(options.draws):
        for name in options.sets:
            made = Path(options.start.format(set=name)) if options.start else None
            drawn = options.teach, draw, options.apart, options.steps
            plan = Plan(name, made, *drawn, options.preset, options.threads)
            lines = lines_of(options.out / LINES)
            if any([line.get(k) for k in KEY] == plan.key for line in lines):
                continue
            first = CLASSICAL_ID if made == NOTHING else STARTER_ID
            registry = Registry(options.out / "versions" / name, first)
            line = learn(plan, options.device, registry)
            add_line(options.out / LINES, line)
            print(time.strftime("%H:%M:%S"), line, flush=True)
    print(shown(lines_of(options.out / LINES)))


if __name__ == "__main__":
    main()
