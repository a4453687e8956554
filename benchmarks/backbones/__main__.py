"""Which backbone? `python -m benchmarks.backbones --out FOLDER` measures, `--table` says.

Three kinds of trial, a line of JSON each in FOLDER/lines.jsonl; a line that is there already is not
done again, so that it can be stopped and go on.

`learn`: each backbone learns a set's teaching side from nothing (or from ImageNet weights in
torch's cache) for `--minutes` of steps, of the CPU's time or a GPU's, is exported, and judged on
the test side.
`speed`: of these, of the shipped starter and, with `--trained`, of the newest version in each set's
registry (`benchmarks.accuracy` makes them), which looks as often as it does in serving: CPU seconds
an image, `time.process_time`, one thread, exported with the shipped caps, on the set's test images
at their working scale, and on 1280×1024 laid with them at scale 1; beside, image by image in the
same process, torchvision's fasterrcnn_resnet50_fpn in eager mode (unresized, and at its defaults,
which resize) and the thesis' VGG-16 (see `references`). The lesser of two.
`step`: CPU seconds of a fine-tuning step on a BCCD image, 640×480 as it is, one thread; of the
default from the starter, with the first layers kept, as where few images teach, and with all layers
learning, and of other backbones from nothing; against torchvision's, all of which learns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.backbones import trials
from benchmarks.backbones.references import UNRESIZED
from benchmarks.backbones.table import table
from benchmarks.beginning import newest_trained
from benchmarks.lines import add_line, lines_of
from benchmarks.sides import SETS
from model.config import Backbone, DetectorConfig
from model.keeping.registry import Registry
from model.rcnn.anchors import MAPS

OURS = [name for name in MAPS if name != "vgg16"]
LINES = "lines.jsonl"
#: Which layers learn in a step: all, or all but the first.
ALL, MOST = "all", "but the first"

#: By what a line is distinguished from the others.
Key = dict[str, Any]
#: A trial and how it is carried out.
Trial = tuple[Key, Callable[[], dict[str, Any]]]


def steps(options: argparse.Namespace) -> Iterator[Trial]:
    yield {"kind": "step", "backbone": UNRESIZED, "learns": ALL}, trials.step_seconds_of_theirs
    for backbone in options.backbones:
        for learns in (MOST, ALL) if backbone == DetectorConfig().backbone else (ALL,):
            key = {"kind": "step", "backbone": backbone, "learns": learns}
            yield key, partial(step, backbone, learns)


def step(backbone: str, learns: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cytoloop-backbones-") as folder:
        return trials.step_seconds(cast("Backbone", backbone), learns == MOST, Path(folder))


def learnings(options: argparse.Namespace) -> Iterator[Trial]:
    """Yield the trainings in an order that is of use wherever it is stopped."""
    for seed in range(options.seeds):
        for data in options.sets:
            for backbone in options.backbones:
                key = {"data": data, "backbone": backbone, "seed": seed}
                key |= {name: getattr(options, name) for name in ("minutes", "teach", "threads")}
                folder = options.out / trials.folder_of(key)
                carry_out = partial(trials.learn, **key, folder=folder)
                yield {"kind": "learn", **key}, carry_out


def speeds(options: argparse.Namespace) -> Iterator[Trial]:
    """Yield for each set both views, the starter and all that was learned measured together."""
    for data in options.sets:
        wanted = [key for key, _ in learnings(options) if key["data"] == data and not key["seed"]]
        learned = [line for key in wanted if (line := found(key, lines_of(options.out / LINES)))]
        for view in ("working", "large"):
            key = {"data": data, "view": view}
            measured: Key = {"backbones": [line["backbone"] for line in learned]}
            measured |= {name: getattr(options, name) for name in ("minutes", "teach", "judge")}
            trained = Path(options.trained.format(set=data)) if options.trained else None
            if trained:
                measured["trained"] = newest_trained(Registry(trained)).id
            carry_out = partial(
                trials.image_seconds,
                **key,
                learned=learned,
                judge=options.judge,
                folder=options.out,
                trained=trained,
            )
            yield {"kind": "speed", **key, **measured}, carry_out


KINDS = {"step": steps, "learn": learnings, "speed": speeds}


def found(key: Key, lines: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the line of a trial that is done."""
    of_key = (line for line in lines if all(line.get(k) == v for k, v in key.items()))
    return next(of_key, None)


def main() -> None:
    """Carry out what is not done yet, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--backbones", nargs="+", default=OURS, choices=OURS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--teach", type=int, default=0, help="images; 0: all that may")
    parser.add_argument("--judge", type=int, default=6, help="images whose time is taken")
    parser.add_argument("--trained", help="a registry of each set too: OUT/versions/{set}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="to learn")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in [] if options.table else options.kinds:
        for key, carry_out in KINDS[kind](options):
            if found(key, lines_of(options.out / LINES)):
                continue
            line = key | carry_out()
            add_line(options.out / LINES, line)
            print(time.strftime("%H:%M:%S"), line, flush=True)
    print(table(lines_of(options.out / LINES)))


if __name__ == "__main__":
    main()
