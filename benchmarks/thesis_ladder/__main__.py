"""The thesis reproduced, beside ours: `python -m benchmarks.thesis_ladder --out FOLDER`.

Trains m03, m04, m05 and m06 as Tare 2020 had them (§5.1–5.4: VGG-16, its anchors, one image and
four regions a step, Adam at 1e-5, classifier overlap 0.1–0.5, RPN 0.3–0.7, flips and quarter turns,
images not resized), m06 under our optimiser, and our default, on the same images and for the same
wall time of steps; what is measured between them does not count. `--scale 0.5` halves the images
of the VGG models, and their anchors, for a CPU. `--minutes` is the time of each.

A folder for each model holds record.csv (the thesis' own columns), curves.svg, counts.csv (found
against true of each image) and marks.jsonl, all brought up to date at each mark; the folder above
holds curves.svg of all and table.md. Stopped and called again it goes on at the last mark; another
setting, device or number of threads begins anew. `--table` only prints, wherever it was trained.

Not as in the thesis, and printed with the table: see `benchmarks.thesis_ladder.rungs.DEVIATIONS`.
A model of the thesis that ends under AP50 0.30 is void, and the table says so.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from backend.datasets.writing import write_whole
from benchmarks.real_images import INNER_SHARE, real_images, spread
from benchmarks.sides import SETS
from benchmarks.thesis_ladder.climbing import Climb, Course, records_of
from benchmarks.thesis_ladder.curves import draw_curves
from benchmarks.thesis_ladder.rungs import DEVIATIONS, Rung, rungs
from benchmarks.thesis_ladder.table import table
from model.labels.examples import DatasetSnapshot


def course(name: str, teach: int, judge: int) -> Course:
    """Return a set's images: of those that may teach, each sixth chooses the threshold instead."""
    data = real_images(name)
    rest = spread(data.rest, teach or len(data.rest))
    inner = spread(rest, max(1, len(rest) // INNER_SHARE))
    chosen = {image.sha256 for image in inner}
    train = tuple(replace(i, side="train") for i in rest if i.sha256 not in chosen)
    judging = spread(data.test, judge or len(data.test))
    return Course(name, DatasetSnapshot(train, data.classes), inner, judging)


def write_all(out: Path, climbs: dict[str, Climb], judged_on: str) -> str:
    """Write the curves and the table of what there is of these very trainings; return the table."""
    lines = {name: climb.lines() for name, climb in climbs.items()}
    series = {name: records_of(own) for name, own in lines.items() if own}
    text = table(lines, {name: climb.rung for name, climb in climbs.items()}, judged_on)
    write_whole(out / "curves.svg", draw_curves(series).encode())
    write_whole(out / "table.md", (text + "\n").encode())
    return text


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--set", default="usiigaci", choices=SETS)
    parser.add_argument("--models", nargs="+", choices=rungs(1.0), default=list(rungs(1.0)))
    parser.add_argument("--minutes", type=float, default=30.0, help="of each model")
    parser.add_argument("--scale", type=float, default=1.0, help="of the VGG models' images")
    parser.add_argument("--teach", type=int, default=0, help="images; 0: all that may")
    parser.add_argument("--judge", type=int, default=0, help="images; 0: all that may")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ladder = rungs(options.scale)
    images = course(options.set, options.teach, options.judge)
    judged_on = (
        f"{options.set}: {len(images.snapshot.images)} images teach, {len(images.inner)} choose the"
        f" threshold, {len(images.judge)} judge; {options.minutes:g} minutes each, VGG models at"
        f" scale {options.scale:g}."
    )
    print(judged_on, "Not as in the thesis:", *DEVIATIONS, sep="\n  ", flush=True)
    where = options.out / options.set
    budget = options.minutes, options.device
    climbs = {name: climb(name, rung, images, where, *budget) for name, rung in ladder.items()}
    for name in [] if options.table else options.models:
        climbs[name].go()
    print(write_all(where, climbs, judged_on))


def climb(name: str, rung: Rung, images: Course, where: Path, minutes: float, device: str) -> Climb:
    """Return a model's training, in a folder of its own."""
    return Climb(rung, images, minutes, where / name, device, partial(tell, name))


def tell(name: str, text: str) -> None:
    """Print what a model's training says."""
    print(f"{time.strftime('%H:%M:%S')} {name:<13}{text}", flush=True)


if __name__ == "__main__":
    main()
