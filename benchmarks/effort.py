"""What whole data sets cost, image by image: `python -m benchmarks.effort bccd --out DIR`.

Each set is replayed (docs/effort.md) from nothing, the classical detector serving first, or from
`--start STARTERS/no_{set}`, a starter without the set (`benchmarks.starter`); beside it the floor,
cross-validated. `--over-http` plays through a `cytoloop up` of its own, Label Studio's API
included. Run again with the same `--out`, it goes on. Printed: actions and assumed seconds a cell,
over all images and the last quarter, above the floor and beside the goals.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.datasets.folder import labelled_folder
from backend.datasets.label_config import label_config_of
from backend.replay.figures import last_quarter
from backend.replay.ledger import Ledger, Row, effort_of_rows, seconds_a_cell
from backend.replay.playing import in_drawn_order
from backend.settings import Settings
from benchmarks.beginning import keep_starter
from benchmarks.installation import CYTOLOOP, Loop
from benchmarks.real_images import link_folder
from benchmarks.sides import SETS, data_folder
from model.classical.detector import CLASSICAL_ID
from model.keeping.registry import Registry
from model.labels.examples import LabelledImage


@dataclass(frozen=True)
class Goal:
    """What is aimed at from a starter that has not seen the set, and from nothing."""

    effort: float
    from_nothing: float = 0.6
    above_floor: float = 0.10
    last_quarter_above_floor: float = 0.05
    seconds: float = 2.5


#: The starter has learned from these very sets, so that none begins with it.
FROM_NOTHING = {"CYTOLOOP_FIRST_VERSION": CLASSICAL_ID}

GOALS = {"bccd": Goal(0.35), "usiigaci": Goal(0.45), "dsb2018": Goal(0.35)}


def main() -> None:
    """Replay the sets named on the command line, one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--out", type=Path, required=True, help="tables, curves and homes")
    parser.add_argument("--images", type=int, default=0, help="0: all")
    parser.add_argument("--floor", type=int, default=3, help="folds; 0: no floor")
    parser.add_argument("--start", default="", help="such as starters/no_{set}; else from nothing")
    parser.add_argument("--over-http", action="store_true")
    arguments = parser.parse_args()
    if arguments.over_http and arguments.start:
        parser.error("--start is of the form in process: leave out --over-http")
    for name in arguments.sets:
        out = arguments.out / name
        if arguments.over_http:
            over_http(name, out, arguments.images)
        else:
            in_process(name, out, arguments)
        report(name, out, bool(arguments.start))


def in_process(name: str, out: Path, arguments: argparse.Namespace) -> None:
    words = ["--images-played", str(arguments.images), "--floor", str(arguments.floor)]
    beside = out.with_name(f"{name}-starter")
    home = {"CYTOLOOP_HOME": str(beside)}
    if arguments.start:
        registry = Registry(Settings(home=beside).registry_folder)
        words += ["--start", keep_starter(Path(arguments.start.format(set=name)), registry).id]
    command = [str(CYTOLOOP), "replay", *truth_of(name), "--out", str(out), *words]
    done = subprocess.run(command, check=False, env=os.environ | FROM_NOTHING | home)
    if done.returncode:
        sys.exit(done.returncode)


def over_http(name: str, out: Path, number: int) -> None:
    """Play in a `cytoloop up` on a home beside ``out``."""
    folder = data_folder() / name
    found = labelled_folder(folder / "images", folder / "annotations")
    beside = out.with_name(f"{name}-loop")
    beside.mkdir(parents=True, exist_ok=True)
    config = beside / "label_config.xml"
    config.write_text(label_config_of(found.classes), "utf-8")
    images = link_missing(in_drawn_order(found.images)[: number or None], beside / "images")
    own = {"CYTOLOOP_LABEL_CONFIG": str(config.resolve()), "CYTOLOOP_WATCH_SHARE": "0"}
    loop = Loop(beside / "home", FROM_NOTHING | own)
    loop.home.mkdir(exist_ok=True)
    try:
        loop.up("--images", str(images))
        words = ("--images-played", str(number), "--out", str(out), "--live", "1")
        print(loop.run("replay", *truth_of(name), *words))
    finally:
        loop.stop()


def link_missing(images: Sequence[LabelledImage], folder: Path) -> Path:
    """Link the images that a folder has not yet: more may be asked for than were before."""
    missing = [image for image in images if not (folder / image.path.name).is_symlink()]
    return link_folder(tuple(missing), folder)


def truth_of(name: str) -> tuple[str, ...]:
    folder = data_folder() / name
    return ("--images", str(folder / "images"), "--annotations", str(folder / "annotations"))


def report(name: str, out: Path, has_starter: bool) -> None:
    """Print the figures of a set beside the goals."""
    rows, goal = Ledger(out / "effort.csv").rows, GOALS[name]
    floor = Ledger(out / "floor.csv").rows
    wanted = goal.effort if has_starter else goal.from_nothing
    print(f"\n{name}, {len(rows)} images, {sum(row.cells for row in rows)} cells")
    print(f"  actions a cell   {effort_of_rows(rows):.3f}   goal {wanted:g}")
    print(f"  seconds a cell   {seconds_a_cell(rows):.2f}    goal {goal.seconds:g}; by hand 7")
    if floor:
        print(f"  floor            {effort_of_rows(floor):.3f}, {seconds_a_cell(floor):.2f} s")
        above(rows, floor, "  above it         ", goal.above_floor)
        above(last_quarter(rows), floor, "  last quarter     ", goal.last_quarter_above_floor)


def above(rows: Sequence[Row], floor: Sequence[Row], title: str, goal: float) -> None:
    """Print how much more work some rows were than the floor is on the same images."""
    of_image = {row.sha256: row for row in floor}
    same = [of_image[row.sha256] for row in rows if row.sha256 in of_image]
    print(f"{title}{effort_of_rows(rows) - effort_of_rows(same):+.3f}   goal {goal:g}")


if __name__ == "__main__":
    main()
