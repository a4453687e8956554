"""How often the ranges of counts hold: `python -m benchmarks.ranges NAME=REPORT.json ...`.

Each report is what `cytoloop evaluate --json` prints of a version and a labelled folder. Again and
again some of the folder's images, drawn by chance, judge, and others are counted: printed are the
shares of true counts that lie in the ranges of `model.judging.ranges`, which are to be 90 % of the
images' and 95 % of the sums', how wide the ranges are, how far sums are off without one, and in
which share of the draws the count error of all images lies in the interval that those that judge
give it, which is to be 95 % too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.tables import head_of, row_of
from model.judging.ranges import range_of, range_of_sum
from model.judging.resampling import count_error, draw_weights, interval
from model.reports import Counts

HEADS = (
    *("set", "images judge", "counts in range", "width"),
    *("sums in range", "width", "sums off", "error in interval"),
)
JUDGING = (9, 20, 40)
DRAWS, COUNTED, SEED = 400, 100, 20261129


class Held(NamedTuple):
    """One draw: whether ranges and the interval hold; widths as shares of the counts."""

    images: float
    image_width: float
    sum: float
    sum_width: float
    sum_off: float
    interval: float


def main() -> None:
    """Print a line for each report and number of images that judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", help="NAME=REPORT.json")
    arguments = parser.parse_args()
    print(head_of(HEADS))
    for named in arguments.reports:
        name, path = named.split("=", 1)
        counts = tuple((p, t) for p, t in json.loads(Path(path).read_text("utf-8"))["counts"])
        for judging in JUDGING:
            if 2 * judging <= len(counts):
                means = Held(*np.mean(drawn(counts, judging), axis=0))
                print(row_of([name, str(judging), *(f"{mean:.1%}" for mean in means)]))


def drawn(counts: Counts, judging: int) -> list[Held]:
    """Return what becomes of images drawn by chance when so many others judge."""
    rng, rows = np.random.default_rng(SEED), np.array(counts)
    return [
        held([(p, t) for p, t in rng.permutation(rows).tolist()], judging) for _ in range(DRAWS)
    ]


def held(counts: list[tuple[int, int]], judging: int) -> Held:
    """Return whether, and how wide, where the first judge and the next are counted."""
    judged, others = tuple(counts[:judging]), counts[judging : judging + COUNTED]
    ranges = [range_of(predicted, judged) for predicted, _ in others]
    of_sum = range_of_sum([predicted for predicted, _ in others], judged)
    assert of_sum is not None
    found, there = (sum(column) for column in zip(*others, strict=True))
    pairs = zip(ranges, others, strict=True)
    inside = [each is not None and each.low <= true <= each.high for each, (_, true) in pairs]
    wide = sum(r.high - r.low for r in ranges if r)
    return Held(
        float(np.mean(inside)),
        wide / there,
        float(of_sum.low <= there <= of_sum.high),
        (of_sum.high - of_sum.low) / there,
        abs(found - there) / there,
        float(error_in_interval(counts, judging)),
    )


def error_in_interval(counts: list[tuple[int, int]], judging: int) -> bool:
    """Return whether the first images' interval holds the count error of all."""
    predicted, true = np.array(counts).T
    (error,) = count_error(predicted, true, np.ones((1, len(true))))
    weights = draw_weights(judging)
    told = interval(count_error(predicted[:judging], true[:judging], weights))
    return told is not None and bool(told.low <= error <= told.high)


if __name__ == "__main__":
    main()
