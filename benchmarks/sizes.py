"""Is the size of the cells found? `python -m benchmarks.sizes --starters 'STARTERS/no_{set}'`.

Starters that have not seen a set (`python -m benchmarks.starter --only SET`) look at images of its
teaching side and at generated fields, whose cells have 7 to 200 pixels, and are asked for the
scale (`model.looking.sizing`). Printed: on which share of the images it was within a factor of 1.5
and of 1.25 of the right one, and the CPU time of the search and of finding the cells at the right
scale.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.real_images import any_cell, real_images, spread
from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR, scale_of
from benchmarks.starter.many_looks import random_style
from model.boxes import CELL, Box
from model.generated.fields import generate_field
from model.keeping.version_folder import EXPORTED, WEIGHTS
from model.looking.sizing import at_found_scale
from model.rcnn.detecting import Detector
from model.rcnn.detector import load_detector
from model.rcnn.engine import OnnxDetector
from model.rcnn.export import export
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import Prepared, prepare, rescaled

#: Radii of the cells of generated fields, pixels, and the part of a field that they cover.
RADII, COVERS = (3.5, 100.0), (0.04, 0.32)
#: Sides of a generated field: in radii, and in pixels.
SIDE_RADII, SIDE_PX = (8.0, 60.0), (256, 1100)
#: Fewest and most cells.
CELLS = (3, 700)
#: No starter learned from fields of these seeds.
FIRST_SEED = 50_000

Sized = tuple[Prepared, float]


@dataclass(frozen=True)
class Search:
    """How far a scale was from the right one, as a factor above 1, and CPU seconds."""

    apart: float
    search_s: float
    find_s: float


def main() -> None:
    """Search with each starter, and print how well and how fast."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starters", required=True, help="folders, {set} standing for what is out")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--images", type=int, default=16, help="of each set")
    parser.add_argument("--fields", type=int, default=20, help="for each starter")
    options = parser.parse_args()
    in_fields: list[Search] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sets:
            starter = load_starter(Path(options.starters.format(set=name)), Path(folder, name))
            tell(name, [search(each, starter) for each in of_set(name, options.images)])
            in_fields += [
                search(sized_field(seed), starter) for seed in seeds(name, options.fields)
            ]
    tell("fields", in_fields)


def load_starter(made: Path, folder: Path) -> OnnxDetector:
    folder.mkdir()
    learned = load_detector(made / WEIGHTS, DETECTOR, (CELL,), "cpu")
    export(learned, folder / EXPORTED, [])
    return OnnxDetector(folder / EXPORTED, DETECTOR, (CELL,), threads=1)


def seeds(name: str, number: int) -> range:
    """Return the seeds of the fields that the starter without a set looks at."""
    first = FIRST_SEED + SETS.index(name)
    return range(first, first + number * len(SETS), len(SETS))


def of_set(name: str, number: int) -> Iterator[Sized]:
    """Prepare images of a set's teaching side, with the right scale of each."""
    with_cells = tuple(image for image in real_images(name).rest if image.boxes)
    for image in any_cell(spread(with_cells, number)):
        yield _sized(image.read(), image.boxes)


def sized_field(seed: int) -> Sized:
    """Prepare a field whose cells are of any size, with the right scale."""
    rng = np.random.default_rng((seed, 99))
    radius, side_radii = (np.exp(rng.uniform(*np.log(span))) for span in (RADII, SIDE_RADII))
    side = int(np.clip(radius * side_radii, *SIDE_PX))
    cells = int(np.clip(rng.uniform(*COVERS) * side**2 / (np.pi * radius**2), *CELLS))
    style = replace(random_style(rng), radius=float(radius))
    made = generate_field(seed, (side, side), cells, style, CELL)
    return _sized(ImageRecord(made.pixels, sha256=""), made.boxes)


def _sized(image: ImageRecord, boxes: tuple[Box, ...]) -> Sized:
    return prepare(image, ContrastGroups.none()), scale_of(boxes, DETECTOR)


def search(sized: Sized, starter: Detector) -> Search:
    image, right = sized
    at = rescaled(image, right)
    begun = time.process_time()
    seen = at_found_scale(image, starter, DETECTOR)
    searched = time.process_time()
    starter.detect([at])
    factor = float(np.exp(abs(np.log(seen.scale * seen.enlargement / right))))
    return Search(factor, searched - begun, time.process_time() - searched)


def tell(name: str, searches: list[Search]) -> None:
    apart = np.array([each.apart for each in searches])
    print(
        f"{name:10} {len(searches):3} images, within 1.5: {np.mean(apart <= 1.5):.0%},"
        f" within 1.25: {np.mean(apart <= 1.25):.0%};"
        f" CPU s: search {np.mean([each.search_s for each in searches]):.3f},"
        f" finding {np.mean([each.find_s for each in searches]):.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
