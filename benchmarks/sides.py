"""Which real images may teach, and which judge: `python -m benchmarks.sides` writes the manifests.

The public sets' READMEs say how their own test part was kept back; the same rule is applied once
more to what is here. Within each kind the images are sorted by the standard deviation of their
grey levels (then by name) and cut into runs of ten; of each run the 30 % (rounded) whose file stem
has the lowest SHA-256 are the test side. All training, tuning and starters see the rest alone.
Usiigaci, small as it is, is cut into five folds in the same way, of which the first judges. Frames
of one field (BloodImage_00037 and 00038, which the rule alone parts) are on the side of the first.

The manifests hold the SHA-256 of the files, so that whoever has the images has the same sides.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from model.labels.likeness import fingerprint_of, group_alike
from preprocessing.hashing import sha256_of
from preprocessing.images import read_image

MANIFESTS = Path(__file__).parent / "manifests"
SETS = ("bccd", "dsb2018", "usiigaci")
RUN = 10
TEST_SHARE = 0.3
FOLDS = 5


@dataclass(frozen=True)
class Row:
    """One line of a set's images.csv."""

    name: str
    kind: str
    grey_std: float

    @property
    def stem_hash(self) -> str:
        return hashlib.sha256(Path(self.name).stem.encode()).hexdigest()


def data_folder() -> Path:
    """Return the folder of the real images, or say how to give one."""
    folder = os.environ.get("CYTOLOOP_DATA")
    if not folder:
        raise SystemExit("Set CYTOLOOP_DATA to the folder with bccd/, dsb2018/ and usiigaci/.")
    return Path(folder)


def rows_of(data_set: Path) -> list[Row]:
    with (data_set / "images.csv").open(encoding="utf-8") as lines:
        return [
            Row(line["image"], line["kind"], float(line["grey_std"]))
            for line in csv.DictReader(lines)
        ]


def runs_of_ten(rows: list[Row]) -> list[list[Row]]:
    """Cut each kind, sorted by contrast, into runs of ten."""
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r.grey_std, r.name)):
        kinds[row.kind].append(row)
    return [kind[i : i + RUN] for kind in kinds.values() for i in range(0, len(kind), RUN)]


def test_names(rows: list[Row]) -> set[str]:
    """Return the names of the images that judge."""
    chosen: set[str] = set()
    for run in runs_of_ten(rows):
        ranked = sorted(run, key=lambda r: r.stem_hash)
        chosen |= {r.name for r in ranked[: round(len(run) * TEST_SHARE)]}
    return chosen


def fold_names(rows: list[Row]) -> list[set[str]]:
    """Return the names of each fold's test images: every image is in one fold."""
    folds: list[set[str]] = [set() for _ in range(FOLDS)]
    for run in runs_of_ten(rows):
        for rank, row in enumerate(sorted(run, key=lambda r: r.stem_hash)):
            folds[rank % FOLDS].add(row.name)
    return folds


def frames_of_one_field_together(sides: dict[str, set[str]], folder: Path) -> dict[str, set[str]]:
    """Return the sides, images alike on that of the earliest by name."""
    names = sorted(set().union(*sides.values()))
    groups = group_alike([fingerprint_of(read_image(folder / name).pixels) for name in names])
    earliest = {name: names[group] for name, group in zip(names, groups, strict=True)}
    return {
        side: {name for name in names if earliest[name] in members}
        for side, members in sides.items()
    }


def manifest_of(data_set: Path) -> dict[str, list[str]]:
    """Return the hashes of each side: ``test`` and ``rest``, or ``fold 1`` to ``fold 5``."""
    rows = rows_of(data_set)
    test = test_names(rows)
    sides = {"test": test, "rest": {r.name for r in rows} - test}
    if data_set.name == "usiigaci":
        sides = {f"fold {i}": f for i, f in enumerate(fold_names(rows), start=1)}
    together = frames_of_one_field_together(sides, data_set / "images")

    def hashes(names: set[str]) -> list[str]:
        files = [data_set / "images" / name for name in sorted(names)]
        return [sha256_of(file) for file in files]

    return {side: hashes(names) for side, names in together.items()}


def main() -> None:
    """Write one manifest a set."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    MANIFESTS.mkdir(exist_ok=True)
    for name in SETS:
        sides = manifest_of(data_folder() / name)
        (MANIFESTS / f"{name}.json").write_text(json.dumps(sides, indent=0) + "\n", "utf-8")
        print(name, {side: len(hashes) for side, hashes in sides.items()})


if __name__ == "__main__":
    main()
