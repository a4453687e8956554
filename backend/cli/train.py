"""`cytoloop train`: trains a version on a labelled folder, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli import worth
from backend.cli.console import progress, say, tell, warn
from backend.cli.folder import read_folder, say_what_is_there, tell_what_is_odd
from backend.cli.options import (
    Annotations,
    Device,
    Home,
    Images,
    Map,
    OneBased,
    notation_from,
    settings_from,
)
from backend.errors import BadRequest
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.datasets.folder import LabelledFolder
    from backend.settings import Settings
    from model.keeping.registry import Registry
    from model.labels.examples import DatasetSnapshot
    from model.progress import Progress
    from model.versions import ModelVersion


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(train)


def train(
    images: Images,
    annotations: Annotations,
    classes: Annotated[
        str,
        typer.Option(
            help="The classes to learn, A,B; those of the VOC files if not given. One whose name "
            "has a comma is renamed with --map.",
        ),
    ] = "",
    mapping: Map = None,
    one_based: OneBased = False,
    preset: Annotated[
        str | None, typer.Option(help="default, fast, or m03 to m06 (the thesis).")
    ] = None,
    contrast: Annotated[
        str | None,
        typer.Option(
            help="How contrast is seen: stretch, none, single, groups, groups-half or flat.",
            show_default="the preset's own way",
        ),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; from the number of images if none.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Id of a version to go on from.",
            show_default="the starter, where the preset is of its kind",
        ),
    ] = None,
    device: Device = None,
    home: Home = None,
) -> None:
    """Train a version on labelled images, and judge it.

    It is judged on those held out that are new to it. A training that was stopped goes on when the
    command is given again: from where Ctrl-C found it, else from its last checkpoint.
    """
    from backend.datasets.classes import check_classes

    settings = settings_from(
        home=home, device=device, preset=preset, contrast=contrast, iterations=iterations
    )
    settings.make_home()
    registry = settings.open_registry()
    champion = _to_begin_with(start, registry, settings) if start else None
    names = (name.strip() for name in classes.split(","))
    wanted = tuple(dict.fromkeys(filter(None, names)))
    folder = read_folder(images, annotations, notation_from(mapping, one_based))
    if wanted:
        check_classes(folder.classes, wanted, "--classes")
    tell_what_is_odd(folder)
    say_what_is_there(folder)
    snapshot = _snapshot_of(folder, wanted or folder.classes, settings)
    version = _learn(snapshot, registry, champion, settings)
    tell(version.id)
    warn(version.notes)
    if version.report:
        tell(*worth.report_text(version.report).split("\n"))
    say(f"Kept in {settings.registry_folder}; try it: cytoloop predict … --model {version.id}")


def _to_begin_with(start: str, registry: Registry, settings: Settings) -> ModelVersion:
    from model.learning.beginning import why_no_start

    version = registry.get(start)
    if why := why_no_start(registry, version, settings.recipe[0]):
        raise BadRequest(
            f"--start {start} cannot be: {why}. Give the --preset that it was trained by, or "
            "another version; without --start the first one is begun with, where it fits."
        )
    return version


def _snapshot_of(
    folder: LabelledFolder, classes: tuple[str, ...], settings: Settings
) -> DatasetSnapshot:
    """Return what a training on the folder sees; each image is on its side for ever."""
    from backend.datasets.sides import FILE_NAME, with_sides
    from model.labels.examples import DatasetSnapshot

    guarded = folder.guarded
    with progress("Looking for images alike") as advance:
        sided = with_sides(
            guarded,
            settings.home / FILE_NAME,
            on_progress=lambda done, total: advance(done / total, f"{done} of {total} images"),
        )
    snapshot = DatasetSnapshot(tuple(sided), classes)
    if not snapshot.of_side("train") or not snapshot.of_side("held-out"):
        raise BadRequest(_too_few(len(guarded)))
    train, held_out = (len(snapshot.of_side(side)) for side in ("train", "held-out"))
    inner = len(sided) - train - held_out
    say(f"{counted(train, 'image')} to learn from, {held_out} held out, {inner} inner")
    if waiting := len(guarded) - len(sided):
        warn([f"{waiting} of the images wait for others to come: sides are dealt in fives"])
    return snapshot


def _too_few(images: int) -> str:
    """Say why this many images cannot be divided into those that teach and those that judge."""
    from model.labels.sides import FEWEST_OF_FIVE

    if images < FEWEST_OF_FIVE:
        return (
            f"{counted(images, 'image')}: too few to learn from some and judge on others: "
            "label at least three."
        )
    return (
        f"{images} images show too few fields to learn from some and judge on others: images of "
        "one field share a side, and keep it. Label images of at least three fields; `cytoloop "
        "labels check --images DIR` lists those that are alike."
    )


def _learn(
    snapshot: DatasetSnapshot,
    registry: Registry,
    champion: ModelVersion | None,
    settings: Settings,
) -> ModelVersion:
    from backend.learning.workdir import workdir
    from model.learning.candidate import make_candidate

    recipe = [config.to_json() for config in settings.recipe]
    begun = champion.id if champion else registry.first
    with (
        workdir(settings, snapshot.sha256, recipe, begun) as folder,
        progress("Training") as advance,
    ):

        def on_progress(step: Progress) -> None:
            loss = "" if step.loss is None else f"loss {step.loss:.3f}"
            ap50 = "" if step.ap50 is None else f"AP50 {step.ap50:.3f}"
            advance(step.fraction, " ".join(filter(None, (step.stage, loss, ap50, step.message))))

        return make_candidate(
            snapshot,
            registry,
            champion=champion,
            project=None,
            recipe=settings.recipe,
            workdir=folder,
            device=settings.device,
            on_progress=on_progress,
        )
