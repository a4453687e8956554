"""Does matching help, and which form of it? `python -m benchmarks.contrast --out FOLDER`.

For each set, treatment of contrast, augmentation and seed one detector is taught a little on a few
images of the teaching side, and judged on images of the test side as they are and with their
contrast shifted. A line of JSON each; a trial that is there already is not done again, so that it
can be stopped and go on. `--table` prints what the trials say.

`--start` names the starters that have not seen a set, such as `starters/no_{set}`, made by
`python -m benchmarks.starter --only {set}`; without it each trial starts from nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contrast.shifts import AS_IS
from benchmarks.contrast.table import agreement, figures_table, gains_table, over_sets_table
from benchmarks.contrast.treatments import TREATMENTS
from benchmarks.contrast.trial import AUGMENTATIONS, Budget, Trial, carry_out, save_pairs
from benchmarks.lines import add_line, lines_of
from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR
from model.config import DetectorConfig
from model.keeping.version_folder import WEIGHTS

LINES = "trials.jsonl"


def trials(arguments: argparse.Namespace) -> Iterator[Trial]:
    """Yield the trials in an order that is of use wherever it is stopped."""
    for seed in range(arguments.seeds):
        for augmentation in arguments.augmentations:
            for treatment in arguments.treatments:
                for name in arguments.sets:
                    yield Trial(name, treatment, augmentation, seed)


def budget_for(trial: Trial, arguments: argparse.Namespace) -> Budget:
    start = Path(arguments.start.format(set=trial.data), WEIGHTS) if arguments.start else None
    return Budget(
        arguments.teach,
        arguments.judge,
        arguments.iterations,
        arguments.crop,
        start,
        (DETECTOR if start else DetectorConfig()).looking_once,
    )


def is_of(line: dict[str, Any], trial: Trial, budget: Budget) -> bool:
    """Say whether a line is a trial's; end where it was made with another budget."""
    if any(line[key] != value for key, value in vars(trial).items()):
        return False
    # Through JSON, as the line went: tuples are lists there.
    wanted = json.loads(json.dumps(budget.to_json()))
    if other := [key for key, value in wanted.items() if line.get(key) != value]:
        raise SystemExit(f"{trial.name} is there with another {', '.join(other)}: take a new --out")
    return True


def print_tables(lines: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> None:
    print(over_sets_table(lines), figures_table(lines), agreement(lines), sep="\n\n")
    for augmentation in arguments.augmentations:
        print(f"\nPaired gains, {augmentation} augmentation:\n")
        print(gains_table(lines, arguments.out, arguments.ours, augmentation))


def main() -> None:
    """Carry out what is not done yet, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--ours", default="groups", help="compared with the others in the table")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--treatments", nargs="+", default=list(TREATMENTS))
    parser.add_argument("--augmentations", nargs="+", default=list(AUGMENTATIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teach", type=int, default=16)
    parser.add_argument("--judge", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--start")
    arguments = parser.parse_args()
    lines = lines_of(arguments.out / LINES)
    if arguments.table:
        print_tables(lines, arguments)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for trial in trials(arguments):
        budget = budget_for(trial, arguments)
        if any(is_of(line, trial, budget) for line in lines):
            continue
        figures, pairs = carry_out(trial, budget)
        save_pairs(pairs, arguments.out / f"{trial.name}.npz")
        add_line(arguments.out / LINES, figures)
        print(trial.name, f"{figures['ap50'][AS_IS]:.3f}", flush=True)


if __name__ == "__main__":
    main()
